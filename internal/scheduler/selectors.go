package scheduler

import (
	"sync"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"hyperkube/internal/client"
)

// selectors tells which pods the default spread constraints of a pod count: those that are selected by all its services and
// by its owner. Answers are kept until a service or an owner of the namespace changes.
type selectors struct {
	services *client.Informer[*corev1.Service]
	rcs      *client.Informer[*corev1.ReplicationController]
	sets     *client.Informer[*appsv1.ReplicaSet]
	stateful *client.Informer[*appsv1.StatefulSet]

	mu    sync.Mutex
	known map[string]map[string]labels.Selector // by namespace, then by labels and owner
}

var statefulSets = client.Resource[*appsv1.StatefulSet]{GVR: appsv1.SchemeGroupVersion.WithResource("statefulsets")}

func newSelectors(f *client.Informers) *selectors {
	x := &selectors{
		services: client.InformerFor(f, client.Services),
		rcs:      client.InformerFor(f, client.ReplicationControllers),
		sets:     client.InformerFor(f, client.ReplicaSets),
		stateful: client.InformerFor(f, statefulSets),
		known:    map[string]map[string]labels.Selector{},
	}
	forget(x, x.services, func(o *corev1.Service) any { return o.Spec.Selector })
	forget(x, x.rcs, func(o *corev1.ReplicationController) any { return o.Spec.Selector })
	forget(x, x.sets, func(o *appsv1.ReplicaSet) any { return o.Spec.Selector })
	forget(x, x.stateful, func(o *appsv1.StatefulSet) any { return o.Spec.Selector })
	return x
}

// forget drops the answers of a namespace when a selector in it changes.
func forget[T interface {
	client.Object
	comparable
}](x *selectors, n *client.Informer[T], selector func(T) any) {
	var none T
	n.OnChange(func(old, new T) {
		if old != none && new != none && equality.Semantic.DeepEqual(selector(old), selector(new)) {
			return
		}
		ns := ""
		if new != none {
			ns = new.GetNamespace()
		} else {
			ns = old.GetNamespace()
		}
		x.mu.Lock()
		delete(x.known, ns)
		x.mu.Unlock()
	})
}

func (x *selectors) of(pod *corev1.Pod) labels.Selector {
	key := labels.Set(pod.Labels).String() + "|"
	owner := metav1.GetControllerOfNoCopy(pod)
	if owner != nil {
		key += owner.APIVersion + "/" + owner.Kind + "/" + owner.Name
	}
	x.mu.Lock()
	sel, ok := x.known[pod.Namespace][key]
	x.mu.Unlock()
	if ok {
		return sel
	}
	sel = x.make(pod, owner)
	x.mu.Lock()
	defer x.mu.Unlock()
	in := x.known[pod.Namespace]
	if in == nil || len(in) > 4096 {
		in = map[string]labels.Selector{}
		x.known[pod.Namespace] = in
	}
	in[key] = sel
	return sel
}

func (x *selectors) make(pod *corev1.Pod, owner *metav1.OwnerReference) labels.Selector {
	set := labels.Set{}
	own := labels.Set(pod.Labels)
	for _, svc := range x.services.InNamespace(pod.Namespace) {
		if len(svc.Spec.Selector) > 0 && labels.SelectorFromSet(svc.Spec.Selector).Matches(own) {
			for k, v := range svc.Spec.Selector {
				set[k] = v
			}
		}
	}
	sel := labels.NewSelector()
	if len(set) > 0 {
		sel = labels.SelectorFromSet(set)
	}
	if owner == nil {
		return sel
	}
	var by *metav1.LabelSelector
	switch owner.APIVersion + "/" + owner.Kind {
	case "v1/ReplicationController":
		if rc, ok := x.rcs.Get(pod.Namespace, owner.Name); ok {
			by = &metav1.LabelSelector{MatchLabels: rc.Spec.Selector}
		}
	case "apps/v1/ReplicaSet":
		if rs, ok := x.sets.Get(pod.Namespace, owner.Name); ok {
			by = rs.Spec.Selector
		}
	case "apps/v1/StatefulSet":
		if ss, ok := x.stateful.Get(pod.Namespace, owner.Name); ok {
			by = ss.Spec.Selector
		}
	}
	if by == nil {
		return sel
	}
	owned, err := metav1.LabelSelectorAsSelector(by)
	if err != nil {
		return sel
	}
	reqs, _ := owned.Requirements()
	return sel.Add(reqs...)
}
