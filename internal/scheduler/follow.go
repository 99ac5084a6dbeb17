package scheduler

import (
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"

	"hyperkube/internal/client"
	"hyperkube/internal/scheduler/placement"
)

// follow keeps state and queue up to date. Each handler runs under the lock, so that a decision sees all of a change or
// nothing of it, and no change is missed between a decision and the pod's return to the queue.
func (s *Scheduler) follow() {
	client.InformerFor(s.informers, client.Nodes).OnChange(locked(s, s.nodeChanged))
	client.InformerFor(s.informers, client.Pods).OnChange(locked(s, s.podChanged))
	client.InformerFor(s.informers, client.Namespaces).OnChange(locked(s, func(_, ns *corev1.Namespace, now time.Time) {
		// Removed namespaces keep their labels: no pod can be in them.
		if ns != nil {
			s.state.SetNamespace(ns.Name, ns.Labels)
			s.move(now, "NamespaceUpdate", func(it *item) bool { return it.refused.Has(placement.InterPodAffinity) })
		}
	}))
}

func locked[T client.Object](s *Scheduler, f func(old, new T, now time.Time)) func(old, new T) {
	return func(old, new T) {
		s.mu.Lock()
		f(old, new, time.Now())
		s.mu.Unlock()
		s.rouse()
	}
}

func (s *Scheduler) nodeChanged(old, new *corev1.Node, now time.Time) {
	if new == nil {
		s.state.RemoveNode(old.Name)
		s.move(now, "NodeDelete", func(it *item) bool { return it.refused.Has(placement.PodTopologySpread) })
		return
	}
	topology := old == nil
	if old != nil {
		c := placement.CompareNodes(old, new)
		if !c.Any() {
			s.state.SetNode(new)
			return
		}
		topology = c.Labels || c.Taints
	}
	s.state.SetNode(new)
	s.move(now, "NodeChange", func(it *item) bool {
		if topology && (it.refused.Has(placement.PodTopologySpread) || it.refused.Has(placement.InterPodAffinity)) {
			return true
		}
		return s.state.Fits(it.profile, it.ready, new.Name) != placement.Unresolvable
	})
}

func (s *Scheduler) podChanged(old, new *corev1.Pod, now time.Time) {
	if old != nil && (new == nil || new.UID != old.UID) {
		s.podGone(old, now)
	}
	switch {
	case new == nil:
	case new.Spec.NodeName != "" && placement.Terminal(new):
		s.podGone(new, now)
	case new.Spec.NodeName != "":
		s.podOnNode(new, now)
	default:
		s.podWants(new, now)
	}
}

// podGone is for pods that were deleted, or have ended.
func (s *Scheduler) podGone(pod *corev1.Pod, now time.Time) {
	uid := pod.UID
	delete(s.assumed, uid)
	if it := s.queue.all[uid]; it != nil {
		s.state.Nominate(it.ready, "")
		s.queue.remove(uid)
	}
	if p := s.state.Pod(uid); p != nil {
		node := p.Node()
		s.state.RemovePod(uid)
		s.podLeft(p, node, now)
	}
}

// podOnNode is for pods that have a node and run there.
func (s *Scheduler) podOnNode(pod *corev1.Pod, now time.Time) {
	uid := pod.UID
	delete(s.assumed, uid)
	if it := s.queue.all[uid]; it != nil {
		s.state.Nominate(it.ready, "")
		s.queue.remove(uid)
	}
	before := s.state.Pod(uid)
	p := placement.NewPod(pod)
	s.state.AddPod(p, pod.Spec.NodeName)
	switch {
	case before == nil || before.Object.Spec.NodeName == "":
		s.move(now, "AssignedPodAdd", func(it *item) bool { return s.related(it, p) })
	case !maps.Equal(before.Object.Labels, pod.Labels) || (before.Object.DeletionTimestamp == nil) != (pod.DeletionTimestamp == nil):
		s.move(now, "AssignedPodUpdate", func(it *item) bool { return s.related(it, p) || s.related(it, before) })
	}
	if before != nil && p.AsksLess(before) {
		s.move(now, "AssignedPodUpdate", func(it *item) bool { return s.state.Fits(it.profile, it.ready, pod.Spec.NodeName) == placement.OK })
	}
}

// podLeft says that a pod no longer takes anything of its node.
func (s *Scheduler) podLeft(p *placement.Pod, node string, now time.Time) {
	s.move(now, "AssignedPodDelete", func(it *item) bool {
		return s.related(it, p) || s.state.Fits(it.profile, it.ready, node) == placement.OK
	})
}

// related says whether a pod that came or went may matter to what refused another.
func (s *Scheduler) related(it *item, p *placement.Pod) bool {
	return it.refused.Has(placement.InterPodAffinity) && s.state.Affects(it.ready, p) ||
		it.refused.Has(placement.PodTopologySpread) && it.pod.Namespace == p.Object.Namespace
}

// podWants is for pods without a node.
func (s *Scheduler) podWants(pod *corev1.Pod, now time.Time) {
	profile := s.profiles[pod.Spec.SchedulerName]
	if profile == nil || pod.DeletionTimestamp != nil || placement.Terminal(pod) {
		if it := s.queue.all[pod.UID]; it != nil && s.assumed[pod.UID] == nil {
			s.state.Nominate(it.ready, "")
			s.queue.remove(pod.UID)
		}
		return
	}
	it := s.queue.all[pod.UID]
	if it == nil {
		it = &item{pod: pod, ready: placement.NewPod(pod), profile: profile, first: now}
		s.state.Nominate(it.ready, pod.Status.NominatedNodeName)
		s.enter(it, now)
		return
	}
	old := it.pod
	if s.assumed[pod.UID] != nil {
		return // The binding decides; what changed comes again with it.
	}
	it.pod = pod
	if sameWants(old, pod) {
		return
	}
	nominated := s.state.NominatedNode(pod.UID)
	it.ready = placement.NewPod(pod)
	s.state.Nominate(it.ready, nominated)
	if it.where != nowhere {
		s.enter(it, now)
	}
}

// enter puts a pod that is new, or asks for something else than before, into the queue.
func (s *Scheduler) enter(it *item, now time.Time) {
	if it.profile.Gates && len(it.pod.Spec.SchedulingGates) > 0 {
		s.queue.put(it, gated, now, "PodAdd")
		return
	}
	s.queue.retry(it, now, "PodAdd")
}

// sameWants says whether nothing changed that a decision looks at.
func sameWants(a, b *corev1.Pod) bool {
	return maps.Equal(a.Labels, b.Labels) && equality.Semantic.DeepEqual(&a.Spec, &b.Spec)
}

// move has pods that wait tried again, those that a change may help.
func (s *Scheduler) move(now time.Time, event string, helps func(*item) bool) {
	if len(s.queue.waiting) == 0 {
		return
	}
	var moved []types.UID
	for uid, it := range s.queue.waiting {
		if it.refused == 0 || helps(it) {
			moved = append(moved, uid)
		}
	}
	for _, uid := range moved {
		s.queue.retry(s.queue.waiting[uid], now, event)
	}
}
