package podset

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Condition finds a condition of a pod; nil when it has none of that type.
func Condition(pod *corev1.Pod, t corev1.PodConditionType) *corev1.PodCondition {
	for i := range pod.Status.Conditions {
		if pod.Status.Conditions[i].Type == t {
			return &pod.Status.Conditions[i]
		}
	}
	return nil
}

// IsReady says whether the pod's Ready condition is true.
func IsReady(pod *corev1.Pod) bool {
	c := Condition(pod, corev1.PodReady)
	return c != nil && c.Status == corev1.ConditionTrue
}

// IsAvailable says whether the pod has been ready for at least minReady seconds at the time now.
func IsAvailable(pod *corev1.Pod, minReady int32, now time.Time) bool {
	left, ok := UntilAvailable(pod, minReady, now)
	return ok && left <= 0
}

// UntilAvailable is how long a ready pod still has to stay ready to count as available; ok is false for
// a pod that is not ready.
func UntilAvailable(pod *corev1.Pod, minReady int32, now time.Time) (left time.Duration, ok bool) {
	c := Condition(pod, corev1.PodReady)
	if c == nil || c.Status != corev1.ConditionTrue {
		return 0, false
	}
	if minReady <= 0 {
		return 0, true
	}
	if c.LastTransitionTime.IsZero() {
		return time.Duration(minReady) * time.Second, true
	}
	return c.LastTransitionTime.Add(time.Duration(minReady) * time.Second).Sub(now), true
}

// IsTerminal says whether the pod's containers have all ended for good.
func IsTerminal(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// IsActive says whether the pod counts as one of its owner's: neither ended nor being deleted.
func IsActive(pod *corev1.Pod) bool { return !IsTerminal(pod) && pod.DeletionTimestamp == nil }

// IsTerminating says whether the pod is being deleted and has not ended yet.
func IsTerminating(pod *corev1.Pod) bool { return !IsTerminal(pod) && pod.DeletionTimestamp != nil }

// Filter gives those pods that keep says yes to.
func Filter(pods []*corev1.Pod, keep func(*corev1.Pod) bool) []*corev1.Pod {
	out := make([]*corev1.Pod, 0, len(pods))
	for _, p := range pods {
		if keep(p) {
			out = append(out, p)
		}
	}
	return out
}

// SetCondition puts a condition into a pod's status and says whether that changed anything. The time of the last
// transition moves only when the status does.
func SetCondition(pod *corev1.Pod, c corev1.PodCondition, now time.Time) bool {
	old := Condition(pod, c.Type)
	if old == nil {
		c.LastTransitionTime = metav1.NewTime(now)
		pod.Status.Conditions = append(pod.Status.Conditions, c)
		return true
	}
	if old.Status == c.Status && old.Reason == c.Reason && old.Message == c.Message && old.ObservedGeneration == c.ObservedGeneration {
		return false
	}
	c.LastTransitionTime = old.LastTransitionTime
	if old.Status != c.Status {
		c.LastTransitionTime = metav1.NewTime(now)
	}
	c.LastProbeTime = old.LastProbeTime
	*old = c
	return true
}
