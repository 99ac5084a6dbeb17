package placement

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	resourcehelper "k8s.io/component-helpers/resource"
)

// Resources are amounts in the base unit of each resource; cpu in thousandths of a core.
type Resources struct {
	CPU, Memory, Ephemeral int64
	Other                  map[corev1.ResourceName]int64 // huge pages, extended resources
}

// What a container without a request counts as when nodes are scored.
const (
	defaultCPU    = 100
	defaultMemory = 200 << 20
)

func resourcesOf(list corev1.ResourceList) Resources {
	var r Resources
	for name, q := range list {
		switch name {
		case corev1.ResourceCPU:
			r.CPU = q.MilliValue()
		case corev1.ResourceMemory:
			r.Memory = q.Value()
		case corev1.ResourceEphemeralStorage:
			r.Ephemeral = q.Value()
		case corev1.ResourcePods:
		default:
			if r.Other == nil {
				r.Other = map[corev1.ResourceName]int64{}
			}
			r.Other[name] = q.Value()
		}
	}
	return r
}

func (r *Resources) add(o *Resources, sign int64) {
	r.CPU += sign * o.CPU
	r.Memory += sign * o.Memory
	r.Ephemeral += sign * o.Ephemeral
	for name, v := range o.Other {
		if r.Other == nil {
			r.Other = map[corev1.ResourceName]int64{}
		}
		r.Other[name] += sign * v
	}
}

// of gives the amount of a resource by name.
func (r *Resources) of(name corev1.ResourceName) int64 {
	switch name {
	case corev1.ResourceCPU:
		return r.CPU
	case corev1.ResourceMemory:
		return r.Memory
	case corev1.ResourceEphemeralStorage:
		return r.Ephemeral
	}
	return r.Other[name]
}

var podResources = resourcehelper.PodResourcesOptions{
	UseStatusResources: true,
	InPlacePodLevelResourcesVerticalScalingEnabled: true,
}

// requestsOf is what a pod needs: containers, the largest of the init containers, sidecars and overhead.
func requestsOf(pod *corev1.Pod) Resources {
	return resourcesOf(resourcehelper.PodRequests(pod, podResources))
}

// scoringRequestsOf counts containers that request nothing as small ones, so that they too are spread.
func scoringRequestsOf(pod *corev1.Pod, exact Resources) Resources {
	for i := range pod.Spec.Containers {
		req := pod.Spec.Containers[i].Resources.Requests
		_, cpu := req[corev1.ResourceCPU]
		_, memory := req[corev1.ResourceMemory]
		if !cpu || !memory {
			opts := podResources
			opts.NonMissingContainerRequests = corev1.ResourceList{
				corev1.ResourceCPU:    *resource.NewMilliQuantity(defaultCPU, resource.DecimalSI),
				corev1.ResourceMemory: *resource.NewQuantity(defaultMemory, resource.BinarySI),
			}
			return resourcesOf(resourcehelper.PodRequests(pod, opts))
		}
	}
	return exact
}

// extended says whether a resource is neither native nor a form of a native one.
func extended(name corev1.ResourceName) bool {
	return strings.Contains(string(name), "/") && !strings.Contains(string(name), "kubernetes.io/")
}
