package daemonset

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// bounds are how many nodes may have two pods, and how many none, during a rolling update. Shares are of the nodes that the
// set should run on, rounded up; when both are 0, one node may be without.
func (s *state) bounds() (surge, unavailable int) {
	ru := s.ds.Spec.UpdateStrategy.RollingUpdate
	desired := 0
	for i := range s.nodes {
		if s.nodes[i].run {
			desired++
		}
	}
	if ru == nil || s.ds.Spec.UpdateStrategy.Type != "RollingUpdate" {
		return 0, 0
	}
	surge, unavailable = share(ru.MaxSurge, desired), share(ru.MaxUnavailable, desired)
	if surge == 0 && unavailable == 0 && desired > 0 {
		unavailable = 1
	}
	return surge, unavailable
}

func share(v *intstr.IntOrString, of int) int {
	if v == nil {
		return 0
	}
	n, err := intstr.GetScaledValueFromIntOrPercent(v, of, true)
	if err != nil || n < 0 { // validation refuses both
		return 0
	}
	return n
}

// update takes a rolling update as far as its bounds allow.
func (s *state) update() plan {
	surge, unavailable := s.bounds()
	if surge > 0 {
		return s.updateSurging(surge)
	}
	return s.updateReplacing(unavailable)
}

// pair splits a node's live pods into an old and a new one; ok is false while there are more of either.
func (s *state) pair(n *place) (old, new *corev1.Pod, ok bool) {
	for _, p := range n.pods {
		if p.Status.Phase == corev1.PodFailed || p.Status.Phase == corev1.PodSucceeded {
			continue
		}
		if s.updated(p) {
			if new != nil {
				return nil, nil, false
			}
			new = p
			continue
		}
		if old != nil {
			return nil, nil, false
		}
		old = p
	}
	return old, new, true
}

// updateReplacing deletes old pods: those that do not work anyway, and of the others as many as may be missing.
func (s *state) updateReplacing(unavailable int) plan {
	var p plan
	var working []*corev1.Pod
	missing := 0
	for i := range s.nodes {
		n := &s.nodes[i]
		if !n.stay {
			continue
		}
		old, new, ok := s.pair(n)
		switch {
		case !ok:
			missing++
		case old == nil && new == nil:
			if n.run {
				missing++
			}
		case old == nil:
			if !s.available(new) || new.DeletionTimestamp != nil {
				missing++
			}
		case old.DeletionTimestamp != nil:
			missing++
		case !s.available(old):
			missing++
			p.remove = append(p.remove, old)
		default:
			working = append(working, old)
		}
	}
	p.remove = append(p.remove, working[:max(min(unavailable-missing, len(working)), 0)]...)
	return p
}

// updateSurging starts new pods beside old ones: at once where the old one does not work, and elsewhere on as many nodes as
// may have two.
func (s *state) updateSurging(surge int) plan {
	var p plan
	var working []string
	double := 0
	for i := range s.nodes {
		n := &s.nodes[i]
		old, new, ok := s.pair(n)
		switch {
		case !ok || old == nil || !n.stay:
		case new == nil && n.run:
			if old.DeletionTimestamp == nil && !s.available(old) {
				double++
				p.create = append(p.create, n.node)
			} else if old.DeletionTimestamp == nil {
				working = append(working, n.node)
			}
		case new != nil && s.available(new):
			if old.DeletionTimestamp == nil {
				p.remove = append(p.remove, old)
			}
		case new != nil:
			double++
		}
	}
	p.create = append(p.create, working[:max(min(surge-double, len(working)), 0)]...)
	return p
}
