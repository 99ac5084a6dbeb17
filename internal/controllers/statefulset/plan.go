package statefulset

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"hyperkube/internal/controllers/podset"
)

// plan is the next step: what can be done at once.
type plan struct {
	create  []int         // slots
	replace []*corev1.Pod // have ended, and are deleted to be made anew
	remove  []*corev1.Pod // too many, or old
}

func (p plan) empty() bool { return len(p.create)+len(p.replace)+len(p.remove) == 0 }

// plan decides. A set that goes in order does one thing at a time, and waits until all pods before are well.
func (s *state) plan() plan {
	ordered := s.set.Spec.PodManagementPolicy != appsv1.ParallelPodManagement
	p, wait := s.fill(ordered)
	if wait {
		return p
	}
	removed, wait := s.shrink(ordered)
	p.remove = removed
	if wait || !p.empty() {
		return p
	}
	p.remove = s.roll()
	return p
}

// fill creates pods that are missing and replaces those that have ended. wait says that nothing else may happen yet.
func (s *state) fill(ordered bool) (p plan, wait bool) {
	for i, pod := range s.slots {
		switch {
		case pod == nil:
			p.create = append(p.create, i)
		case pod.DeletionTimestamp != nil:
		case podset.IsTerminal(pod):
			p.replace = append(p.replace, pod)
		case s.healthy(pod):
			continue
		}
		if ordered {
			return p, true
		}
	}
	return p, false
}

// shrink deletes pods that are too many, the highest number first.
func (s *state) shrink(ordered bool) (remove []*corev1.Pod, wait bool) {
	for i, pod := range s.surplus {
		if pod.DeletionTimestamp != nil {
			if ordered {
				return nil, true
			}
			continue
		}
		if ordered && !s.healthy(pod) && s.anyIll(s.surplus[i+1:]) {
			return nil, true
		}
		remove = append(remove, pod)
		if ordered {
			return remove, true
		}
	}
	return remove, false
}

func (s *state) anyIll(pods []*corev1.Pod) bool {
	for _, p := range pods {
		if !s.healthy(p) {
			return true
		}
	}
	return false
}

// roll deletes pods of an old revision, the highest number first and not below the partition, as long as no more are unavailable
// than may be. An old pod that does not work costs nothing.
func (s *state) roll() (remove []*corev1.Pod) {
	if s.set.Spec.UpdateStrategy.Type == appsv1.OnDeleteStatefulSetStrategyType {
		return nil
	}
	ill := 0
	for _, p := range s.slots {
		if !s.healthy(p) {
			ill++
		}
	}
	most := s.maxUnavailable()
	for i := len(s.slots) - 1; i >= s.partition(); i-- {
		p := s.slots[i]
		switch {
		case p == nil || p.DeletionTimestamp != nil || s.updated(p):
		case !s.healthy(p):
			remove = append(remove, p)
		case ill < most:
			remove = append(remove, p)
			ill++
		default:
			return remove
		}
	}
	return remove
}

// partition is the first slot that a rolling update reaches.
func (s *state) partition() int {
	if ru := s.set.Spec.UpdateStrategy.RollingUpdate; ru != nil && ru.Partition != nil {
		return int(*ru.Partition)
	}
	return 0
}

func (s *state) maxUnavailable() int {
	ru := s.set.Spec.UpdateStrategy.RollingUpdate
	if ru == nil || ru.MaxUnavailable == nil {
		return 1
	}
	n, err := intstr.GetScaledValueFromIntOrPercent(ru.MaxUnavailable, len(s.slots), true)
	if err != nil { // validation refuses it
		return 1
	}
	return max(1, n)
}

// revisionFor is what a new pod is made from: below the partition of a rolling update, what the others were made from.
func (s *state) revisionFor(slot int) *appsv1.ControllerRevision {
	if s.set.Spec.UpdateStrategy.Type != appsv1.OnDeleteStatefulSetStrategyType && slot < s.partition() {
		return s.current
	}
	return s.update
}
