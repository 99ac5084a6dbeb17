package node

import (
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"

	"hyperkube/internal/node/spec"
	"hyperkube/internal/node/static"
)

// podEvents writes the events of pods; those of a static pod are about its mirror.
type podEvents struct{ k *Kubelet }

func (e podEvents) Event(p *corev1.Pod, container, kind, reason, message string) {
	if e.k.events == nil {
		return
	}
	ref := &corev1.ObjectReference{Kind: "Pod", APIVersion: "v1", Namespace: p.Namespace, Name: p.Name, UID: p.UID, ResourceVersion: p.ResourceVersion}
	if static.IsStatic(p) {
		// The UID of the mirror is not known before it is there; its hash is what upstream refers to, too.
		ref.UID = types.UID(p.Annotations["kubernetes.io/config.hash"])
	}
	if container != "" {
		ref.FieldPath = fieldPath(&p.Spec, container)
	}
	e.k.events.Event(ref, kind, reason, message)
}

func fieldPath(s *corev1.PodSpec, name string) string {
	for i := range s.InitContainers {
		if s.InitContainers[i].Name == name {
			return "spec.initContainers{" + name + "}"
		}
	}
	for i := range s.EphemeralContainers {
		if s.EphemeralContainers[i].Name == name {
			return "spec.ephemeralContainers{" + name + "}"
		}
	}
	if spec.Find(s, name) == nil {
		return ""
	}
	return "spec.containers{" + name + "}"
}

func (k *Kubelet) nodeEvent(reason, message string) {
	k.nodeEventOf(corev1.EventTypeNormal, reason, message)
}

func (k *Kubelet) nodeEventOf(kind, reason, message string) {
	if k.events != nil {
		ref := &corev1.ObjectReference{Kind: "Node", APIVersion: "v1", Name: k.cfg.NodeName, UID: types.UID(k.cfg.NodeName)}
		k.events.Event(ref, kind, reason, message)
	}
}

// needsSync says whether a change of a pod matters to the kubelet: its own writes of the status do not.
func needsSync(old, now *corev1.Pod) bool {
	return old.Generation != now.Generation || old.UID != now.UID ||
		!apiequality.Semantic.DeepEqual(old.DeletionTimestamp, now.DeletionTimestamp) ||
		!apiequality.Semantic.DeepEqual(old.DeletionGracePeriodSeconds, now.DeletionGracePeriodSeconds) ||
		!apiequality.Semantic.DeepEqual(old.Labels, now.Labels) || !apiequality.Semantic.DeepEqual(old.Annotations, now.Annotations) ||
		!apiequality.Semantic.DeepEqual(old.Spec, now.Spec) || gatesChanged(old, now)
}

// gatesChanged compares the conditions that are readiness gates.
func gatesChanged(old, now *corev1.Pod) bool {
	for _, g := range now.Spec.ReadinessGates {
		if conditionStatus(old, g.ConditionType) != conditionStatus(now, g.ConditionType) {
			return true
		}
	}
	return false
}

func conditionStatus(p *corev1.Pod, t corev1.PodConditionType) corev1.ConditionStatus {
	for _, c := range p.Status.Conditions {
		if c.Type == t {
			return c.Status
		}
	}
	return ""
}
