package statefulset

import (
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"hyperkube/internal/controllers/podset"
)

// status counts what was found; soonest is when a ready pod will count as available.
func (s *state) status() (out appsv1.StatefulSetStatus, soonest time.Duration) {
	out.ObservedGeneration = s.set.Generation
	out.CollisionCount = s.set.Status.CollisionCount
	out.Conditions = s.set.Status.Conditions
	out.CurrentRevision, out.UpdateRevision = s.current.Name, s.update.Name
	for _, list := range [][]*corev1.Pod{s.slots, s.surplus} {
		for _, p := range list {
			if p == nil || podset.IsTerminal(p) {
				continue
			}
			s.count(&out, p)
			if left, ok := podset.UntilAvailable(p, s.set.Spec.MinReadySeconds, s.now); ok && left > 0 && (soonest == 0 || left < soonest) {
				soonest = left
			}
		}
	}
	s.complete(&out)
	return out, soonest
}

func (s *state) count(out *appsv1.StatefulSetStatus, p *corev1.Pod) {
	out.Replicas++
	if ready(p) {
		out.ReadyReplicas++
		if podset.IsAvailable(p, s.set.Spec.MinReadySeconds, s.now) {
			out.AvailableReplicas++
		}
	}
	if p.DeletionTimestamp != nil {
		return
	}
	if revisionOf(p) == s.current.Name {
		out.CurrentReplicas++
	}
	if revisionOf(p) == s.update.Name {
		out.UpdatedReplicas++
	}
}

// complete ends a rolling update: what was the update is now what all are.
func (s *state) complete(out *appsv1.StatefulSetStatus) {
	n := int32(len(s.slots))
	if s.set.Spec.UpdateStrategy.Type == appsv1.OnDeleteStatefulSetStrategyType || out.UpdatedReplicas != n || out.ReadyReplicas != n || out.Replicas != n {
		return
	}
	out.CurrentRevision, out.CurrentReplicas = out.UpdateRevision, out.UpdatedReplicas
}
