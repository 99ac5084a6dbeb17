package object

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"slices"
)

// QOSClass is the quality of service that a pod's resources earn it: Guaranteed when every
// container has equal, non-zero cpu and memory requests and limits, BestEffort when none has any, else
// Burstable. Resources of the whole pod, where given, decide alone.
// See https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/.
func QOSClass(p *corev1.Pod) corev1.PodQOSClass {
	all := make([]corev1.ResourceRequirements, 0, len(p.Spec.Containers)+len(p.Spec.InitContainers))
	if r := p.Spec.Resources; r != nil && len(r.Limits)+len(r.Requests) > 0 {
		all = append(all, *r)
	} else {
		for i := range p.Spec.Containers {
			all = append(all, p.Spec.Containers[i].Resources)
		}
		for i := range p.Spec.InitContainers {
			all = append(all, p.Spec.InitContainers[i].Resources)
		}
	}
	some, guaranteed := false, true
	for i := range all {
		for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
			request, limit := all[i].Requests[name], all[i].Limits[name]
			some = some || !request.IsZero() || !limit.IsZero()
			if limit.IsZero() || !request.IsZero() && request.Cmp(limit) != 0 {
				guaranteed = false
			}
		}
	}
	switch {
	case !some:
		return corev1.PodQOSBestEffort
	case guaranteed:
		return corev1.PodQOSGuaranteed
	}
	return corev1.PodQOSBurstable
}

// PodReady says whether the pod's Ready condition is true.
func PodReady(p *corev1.Pod) bool { return podConditionTrue(p, corev1.PodReady) }

// PodTerminal says whether the pod has ended for good: phase Succeeded or Failed.
func PodTerminal(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

// PodCondition finds a condition; nil when the pod has none of that type.
func PodCondition(p *corev1.Pod, t corev1.PodConditionType) *corev1.PodCondition {
	for i := range p.Status.Conditions {
		if p.Status.Conditions[i].Type == t {
			return &p.Status.Conditions[i]
		}
	}
	return nil
}

func podConditionTrue(p *corev1.Pod, t corev1.PodConditionType) bool {
	c := PodCondition(p, t)
	return c != nil && c.Status == corev1.ConditionTrue
}

// SetPodCondition puts a condition in, in place of one of its type, and says whether anything changed.
// The transition time is kept while the status stays the same, and is now otherwise.
func SetPodCondition(s *corev1.PodStatus, c corev1.PodCondition, now metav1.Time) bool {
	c.LastTransitionTime = now
	for i := range s.Conditions {
		old := &s.Conditions[i]
		if old.Type != c.Type {
			continue
		}
		if old.Status == c.Status {
			c.LastTransitionTime = old.LastTransitionTime
		}
		changed := old.Status != c.Status || old.Reason != c.Reason || old.Message != c.Message ||
			old.ObservedGeneration != c.ObservedGeneration || !old.LastProbeTime.Equal(&c.LastProbeTime)
		*old = c
		return changed
	}
	s.Conditions = append(s.Conditions, c)
	return true
}

// NodeCondition finds a condition; nil when the node has none of that type.
func NodeCondition(n *corev1.Node, t corev1.NodeConditionType) *corev1.NodeCondition {
	for i := range n.Status.Conditions {
		if n.Status.Conditions[i].Type == t {
			return &n.Status.Conditions[i]
		}
	}
	return nil
}

// NodeReady says whether the node's Ready condition is true.
func NodeReady(n *corev1.Node) bool {
	c := NodeCondition(n, corev1.NodeReady)
	return c != nil && c.Status == corev1.ConditionTrue
}

// Sidecar says whether an init container is one that keeps running beside the others (KEP-753).
func Sidecar(c *corev1.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

// Selectable gives what label and field selectors see of an object.
func Selectable(k *Kind, obj Object) (labels.Set, fields.Set) {
	set := fields.Set{}
	if k.Fields != nil {
		for name, value := range k.Fields(obj) {
			set[name] = value
		}
	}
	set["metadata.name"] = obj.GetName()
	if k.Scope == Namespaced {
		set["metadata.namespace"] = obj.GetNamespace()
	}
	return obj.GetLabels(), set
}

// SelectsField says whether a field selector may name a field of the kind. Every kind has
// metadata.name and metadata.namespace.
func (k *Kind) SelectsField(name string) bool {
	if name == "metadata.name" || name == "metadata.namespace" {
		return true
	}
	for i := range k.Versions {
		if slices.Contains(k.FieldNamesIn(&k.Versions[i]), name) {
			return true
		}
	}
	return false
}
