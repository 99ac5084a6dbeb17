// Package quota counts what objects take of a ResourceQuota. It is pure: the API server's admission and the controller that recounts
// share it, so that both arrive at the same figures.
//
// Every object of a namespace counts as one of count/<resource>[.<group>]; some kinds also count under an older name ("secrets",
// "services") or have more to count: the resources of pods, the storage of claims, the ports and balancers of services.
package quota

import (
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"hyperkube/internal/object"
)

// plain are the resources that have an old name besides count/….
var plain = map[schema.GroupResource]corev1.ResourceName{
	{Resource: "pods"}:                   corev1.ResourcePods,
	{Resource: "services"}:               corev1.ResourceServices,
	{Resource: "replicationcontrollers"}: corev1.ResourceReplicationControllers,
	{Resource: "resourcequotas"}:         corev1.ResourceQuotas,
	{Resource: "secrets"}:                corev1.ResourceSecrets,
	{Resource: "configmaps"}:             corev1.ResourceConfigMaps,
	{Resource: "persistentvolumeclaims"}: corev1.ResourcePersistentVolumeClaims,
}

// CountName is the name under which objects of a resource are counted.
func CountName(gr schema.GroupResource) corev1.ResourceName {
	return corev1.ResourceName("count/" + gr.String())
}

// Usage is what an object takes. now decides whether a pod that is being deleted still takes anything.
func Usage(gr schema.GroupResource, obj object.Object, now time.Time) corev1.ResourceList {
	one := *resource.NewQuantity(1, resource.DecimalSI)
	use := corev1.ResourceList{CountName(gr): one}
	switch o := obj.(type) {
	case *corev1.Pod:
		podUsage(o, use, now)
	case *corev1.Service:
		serviceUsage(o, use)
	case *corev1.PersistentVolumeClaim:
		claimUsage(o, use)
	}
	if name, ok := plain[gr]; ok && gr.Resource != "pods" {
		use[name] = one
	}
	return use
}

// Counts says whether a quota's resource is counted from objects of a kind.
func Counts(gr schema.GroupResource, name corev1.ResourceName) bool {
	if name == CountName(gr) || name == plain[gr] {
		return true
	}
	switch gr {
	case schema.GroupResource{Resource: "pods"}:
		return podResource(name)
	case schema.GroupResource{Resource: "services"}:
		return name == corev1.ResourceServicesNodePorts || name == corev1.ResourceServicesLoadBalancers
	case schema.GroupResource{Resource: "persistentvolumeclaims"}:
		return name == corev1.ResourceRequestsStorage || strings.Contains(string(name), classSuffix)
	}
	return false
}

// Of names the resource whose objects a quota's resource is counted from, when that is told by its name.
func Of(name corev1.ResourceName) (schema.GroupResource, bool) {
	if rest, ok := strings.CutPrefix(string(name), "count/"); ok {
		return schema.ParseGroupResource(rest), true
	}
	for gr := range plain {
		if Counts(gr, name) {
			return gr, true
		}
	}
	return schema.GroupResource{}, false
}

func serviceUsage(s *corev1.Service, use corev1.ResourceList) {
	ports := int64(len(s.Spec.Ports))
	balancers, nodePorts := int64(0), int64(0)
	switch s.Spec.Type {
	case corev1.ServiceTypeNodePort:
		nodePorts = ports
	case corev1.ServiceTypeLoadBalancer:
		balancers = 1
		if s.Spec.AllocateLoadBalancerNodePorts == nil || *s.Spec.AllocateLoadBalancerNodePorts {
			nodePorts = ports
		} else {
			for _, p := range s.Spec.Ports {
				if p.NodePort != 0 {
					nodePorts++
				}
			}
		}
	}
	use[corev1.ResourceServicesLoadBalancers] = *resource.NewQuantity(balancers, resource.DecimalSI)
	use[corev1.ResourceServicesNodePorts] = *resource.NewQuantity(nodePorts, resource.DecimalSI)
}

// classSuffix ends the resources of one storage class: gold.storageclass.storage.k8s.io/requests.storage.
const classSuffix = ".storageclass.storage.k8s.io/"

func claimUsage(c *corev1.PersistentVolumeClaim, use corev1.ResourceList) {
	class := c.Annotations[corev1.BetaStorageClassAnnotation]
	if class == "" && c.Spec.StorageClassName != nil {
		class = *c.Spec.StorageClassName
	}
	if class != "" {
		use[corev1.ResourceName(class+classSuffix+string(corev1.ResourcePersistentVolumeClaims))] = *resource.NewQuantity(1, resource.DecimalSI)
	}
	storage, ok := c.Spec.Resources.Requests[corev1.ResourceStorage]
	if !ok {
		return
	}
	// While a claim shrinks back from an expansion that failed, what was allocated counts.
	if have, ok := c.Status.AllocatedResources[corev1.ResourceStorage]; ok && have.Cmp(storage) > 0 {
		storage = have
	}
	storage.SetScaled(storage.Value(), 0)
	use[corev1.ResourceRequestsStorage] = storage
	if class != "" {
		use[corev1.ResourceName(class+classSuffix+string(corev1.ResourceRequestsStorage))] = storage
	}
}

// Names of the resources in a list, sorted.
func Names(list corev1.ResourceList) []corev1.ResourceName {
	names := make([]corev1.ResourceName, 0, len(list))
	for name := range list {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Only gives the resources of a list that another has as well.
func Only(list, as corev1.ResourceList) corev1.ResourceList {
	out := corev1.ResourceList{}
	for name := range as {
		if q, ok := list[name]; ok {
			out[name] = q
		}
	}
	return out
}

// Add adds b to a in place.
func Add(a, b corev1.ResourceList) {
	for name, q := range b {
		sum := a[name].DeepCopy()
		sum.Add(q)
		a[name] = sum
	}
}

// Subtract gives a without b; resources of b that a lacks are negative.
func Subtract(a, b corev1.ResourceList) corev1.ResourceList {
	out := a.DeepCopy()
	if out == nil {
		out = corev1.ResourceList{}
	}
	for name, q := range b {
		rest := out[name].DeepCopy()
		rest.Sub(q)
		out[name] = rest
	}
	return out
}

// Zero gives every resource of a list the amount 0.
func Zero(list corev1.ResourceList) corev1.ResourceList {
	out := corev1.ResourceList{}
	for name := range list {
		out[name] = resource.MustParse("0")
	}
	return out
}

// Equal compares amounts.
func Equal(a, b corev1.ResourceList) bool {
	if len(a) != len(b) {
		return false
	}
	for name, q := range a {
		other, ok := b[name]
		if !ok || q.Cmp(other) != 0 {
			return false
		}
	}
	return true
}
