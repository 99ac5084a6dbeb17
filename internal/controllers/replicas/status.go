package replicas

import (
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"hyperkube/internal/controllers/podset"
)

// status is what an owner with these pods reports. diff is how many pods there were too many, failed
// why that could not be mended.
func status(old appsv1.ReplicaSetStatus, spec Spec, pods, active []*corev1.Pod, diff int, failed error, now time.Time) appsv1.ReplicaSetStatus {
	s := appsv1.ReplicaSetStatus{
		Replicas:           int32(len(active)),
		ObservedGeneration: old.ObservedGeneration,
		Conditions:         failure(old.Conditions, diff, failed, now),
	}
	full := labels.Set(spec.Template.Labels).AsSelectorPreValidated()
	for _, p := range active {
		if full.Matches(labels.Set(p.Labels)) {
			s.FullyLabeledReplicas++
		}
		if podset.IsReady(p) {
			s.ReadyReplicas++
			if podset.IsAvailable(p, spec.MinReady, now) {
				s.AvailableReplicas++
			}
		}
	}
	terminating := int32(len(podset.Filter(pods, podset.IsTerminating)))
	s.TerminatingReplicas = &terminating
	return s
}

// failure keeps the condition ReplicaFailure: there while pods cannot be created or deleted.
func failure(conds []appsv1.ReplicaSetCondition, diff int, failed error, now time.Time) []appsv1.ReplicaSetCondition {
	i := slices.IndexFunc(conds, func(c appsv1.ReplicaSetCondition) bool { return c.Type == appsv1.ReplicaSetReplicaFailure })
	switch {
	case failed == nil && i >= 0:
		return slices.Delete(slices.Clone(conds), i, i+1)
	case failed != nil && i < 0:
		reason := "FailedCreate"
		if diff > 0 {
			reason = "FailedDelete"
		}
		return append(slices.Clone(conds), appsv1.ReplicaSetCondition{
			Type: appsv1.ReplicaSetReplicaFailure, Status: corev1.ConditionTrue,
			LastTransitionTime: metav1.NewTime(now), Reason: reason, Message: failed.Error(),
		})
	}
	return conds
}

func nextAvailable(pods []*corev1.Pod, minReady int32, now time.Time) (soonest time.Duration) {
	if minReady <= 0 {
		return 0
	}
	for _, p := range pods {
		if left, ok := podset.UntilAvailable(p, minReady, now); ok && left > 0 && (soonest == 0 || left < soonest) {
			soonest = left
		}
	}
	return soonest
}

func equal(a, b appsv1.ReplicaSetStatus) bool { return apiequality.Semantic.DeepEqual(a, b) }
