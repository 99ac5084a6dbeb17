package quota

import (
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	resourcehelper "k8s.io/component-helpers/resource"

	"hyperkube/internal/object"
	"hyperkube/internal/object/podspec"
)

// computed are the resources of pods that have a name of their own in quotas.
var computed = []corev1.ResourceName{
	corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage,
	corev1.ResourceRequestsCPU, corev1.ResourceRequestsMemory, corev1.ResourceRequestsEphemeralStorage,
	corev1.ResourceLimitsCPU, corev1.ResourceLimitsMemory, corev1.ResourceLimitsEphemeralStorage, corev1.ResourcePods,
}

func podResource(name corev1.ResourceName) bool {
	if slices.Contains(computed, name) || strings.HasPrefix(string(name), corev1.ResourceHugePagesPrefix) ||
		strings.HasPrefix(string(name), corev1.ResourceRequestsHugePagesPrefix) {
		return true
	}
	rest, ok := strings.CutPrefix(string(name), corev1.DefaultResourceRequestsPrefix)
	return ok && podspec.ExtendedResource(corev1.ResourceName(rest))
}

// podUsage adds what a pod takes. One that is over takes nothing but its place as an object.
func podUsage(p *corev1.Pod, use corev1.ResourceList, now time.Time) {
	if over(p, now) {
		return
	}
	use[corev1.ResourcePods] = *resource.NewQuantity(1, resource.DecimalSI)
	opts := resourcehelper.PodResourcesOptions{UseStatusResources: true}
	for name, q := range resourcehelper.PodRequests(p, opts) {
		switch {
		case name == corev1.ResourceCPU || name == corev1.ResourceMemory || name == corev1.ResourceEphemeralStorage:
			use[name] = q
			use[corev1.DefaultResourceRequestsPrefix+name] = q
		case strings.HasPrefix(string(name), corev1.ResourceHugePagesPrefix):
			use[name] = q
			use[corev1.DefaultResourceRequestsPrefix+name] = q
		case podspec.ExtendedResource(name):
			use[corev1.DefaultResourceRequestsPrefix+name] = q
		}
	}
	for name, q := range resourcehelper.PodLimits(p, opts) {
		switch name {
		case corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage:
			use["limits."+name] = q
		}
	}
}

// over says that a pod has ended, or that its time to end has run out.
func over(p *corev1.Pod, now time.Time) bool {
	if p.Status.Phase == corev1.PodFailed || p.Status.Phase == corev1.PodSucceeded {
		return true
	}
	if p.DeletionTimestamp == nil || p.DeletionGracePeriodSeconds == nil {
		return false
	}
	// The timestamp is the moment at which the grace period ends.
	return now.After(p.DeletionTimestamp.Time)
}

// Missing names the resources that a quota limits and of which containers of a pod do not say what they take, with the containers.
func Missing(p *corev1.Pod, hard corev1.ResourceList) map[corev1.ResourceName][]string {
	if whole := p.Spec.Resources; whole != nil && (len(whole.Requests) > 0 || len(whole.Limits) > 0) {
		// What the pod says as a whole stands for its containers.
		hard = without(hard, whole)
	}
	missing := map[corev1.ResourceName][]string{}
	check := func(c *corev1.Container) {
		for name := range hard {
			if !slices.Contains(computed, name) || name == corev1.ResourcePods {
				continue
			}
			if !says(c.Resources.Requests, c.Resources.Limits, name) {
				missing[name] = append(missing[name], c.Name)
			}
		}
	}
	for i := range p.Spec.Containers {
		check(&p.Spec.Containers[i])
	}
	for i := range p.Spec.InitContainers {
		check(&p.Spec.InitContainers[i])
	}
	for _, list := range missing {
		slices.Sort(list)
	}
	return missing
}

func without(hard corev1.ResourceList, whole *corev1.ResourceRequirements) corev1.ResourceList {
	out := corev1.ResourceList{}
	for name, q := range hard {
		if !says(whole.Requests, whole.Limits, name) {
			out[name] = q
		}
	}
	return out
}

func says(requests, limits corev1.ResourceList, name corev1.ResourceName) bool {
	if rest, ok := strings.CutPrefix(string(name), "limits."); ok {
		_, ok := limits[corev1.ResourceName(rest)]
		return ok
	}
	_, ok := requests[corev1.ResourceName(strings.TrimPrefix(string(name), corev1.DefaultResourceRequestsPrefix))]
	return ok
}

// bestEffort says that a pod asks for nothing.
func bestEffort(p *corev1.Pod) bool { return object.QOSClass(p) == corev1.PodQOSBestEffort }
