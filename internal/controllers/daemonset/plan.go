package daemonset

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"hyperkube/internal/controllers/history"
	"hyperkube/internal/controllers/podset"
)

// state is one set as it was found: its pods on each node.
type state struct {
	ds    *appsv1.DaemonSet
	hash  string
	now   time.Time
	nodes []place       // those that are there, by name
	lost  []*corev1.Pod // pods that are meant for no node that is there
}

// place is one node with the set's pods on it, the oldest first.
type place struct {
	node string
	verdict
	pods []*corev1.Pod
}

// plan is what to do.
type plan struct {
	create []string // nodes
	remove []*corev1.Pod
	events []event
}

type event struct{ kind, reason, message string }

func survey(ds *appsv1.DaemonSet, nodes []*corev1.Node, pods []*corev1.Pod, hash string, now time.Time) *state {
	byNode := map[string][]*corev1.Pod{}
	for _, p := range pods {
		byNode[nodeOf(p)] = append(byNode[nodeOf(p)], p)
	}
	s := &state{ds: ds, hash: hash, now: now, nodes: make([]place, 0, len(nodes))}
	f := newFit(ds)
	for _, n := range nodes {
		on := byNode[n.Name]
		delete(byNode, n.Name)
		slices.SortFunc(on, older)
		s.nodes = append(s.nodes, place{n.Name, f.on(n), on})
	}
	slices.SortFunc(s.nodes, func(a, b place) int { return cmp.Compare(a.node, b.node) })
	for _, ps := range byNode {
		s.lost = append(s.lost, ps...)
	}
	return s
}

// older puts pods that have a node before those that have none, and then the older first.
func older(a, b *corev1.Pod) int {
	if x, y := a.Spec.NodeName != "", b.Spec.NodeName != ""; x != y {
		if x {
			return -1
		}
		return 1
	}
	return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
}

func (s *state) updated(p *corev1.Pod) bool { return p.Labels[history.HashLabel] == s.hash }

func (s *state) available(p *corev1.Pod) bool {
	return podset.IsAvailable(p, s.ds.Spec.MinReadySeconds, s.now)
}

// manage starts pods where one is missing, and deletes those that are too many, that have ended, or that are where they do not
// belong. mayRetry says whether a failed pod of a node may be replaced now.
func (s *state) manage(mayRetry func(node string) bool) plan {
	var p plan
	for i := range s.nodes {
		n := &s.nodes[i]
		switch {
		case !n.stay:
			p.remove = append(p.remove, podset.Filter(n.pods, func(x *corev1.Pod) bool { return x.DeletionTimestamp == nil })...)
		case len(n.pods) == 0:
			if n.run {
				p.create = append(p.create, n.node)
			}
		default:
			s.tidy(n, &p, mayRetry)
		}
	}
	for _, x := range s.lost {
		if x.DeletionTimestamp == nil && x.Spec.NodeName == "" {
			p.remove = append(p.remove, x) // the node that it waits for is gone
		}
	}
	return p
}

// tidy looks at a node that has pods and may have one.
func (s *state) tidy(n *place, p *plan, mayRetry func(string) bool) {
	var running []*corev1.Pod
	for _, x := range n.pods {
		switch {
		case x.DeletionTimestamp != nil:
		case x.Status.Phase == corev1.PodFailed:
			if !mayRetry(n.node) {
				continue
			}
			p.events = append(p.events, event{corev1.EventTypeWarning, "FailedDaemonPod",
				fmt.Sprintf("Found failed daemon pod %s/%s on node %s, will try to kill it", x.Namespace, x.Name, n.node)})
			p.remove = append(p.remove, x)
		case x.Status.Phase == corev1.PodSucceeded:
			p.events = append(p.events, event{corev1.EventTypeNormal, "SucceededDaemonPod",
				fmt.Sprintf("Found succeeded daemon pod %s/%s on node %s, will try to delete it", x.Namespace, x.Name, n.node)})
			p.remove = append(p.remove, x)
		default:
			running = append(running, x)
		}
	}
	if len(running) <= 1 {
		return
	}
	if surge, _ := s.bounds(); surge == 0 {
		p.remove = append(p.remove, running[1:]...)
		return
	}
	// While a set surges a node may have one old pod and one new; the old one goes when the new one is available.
	var oldest, newest *corev1.Pod
	for _, x := range running {
		switch {
		case s.updated(x) && newest == nil:
			newest = x
		case !s.updated(x) && oldest == nil:
			oldest = x
		default:
			p.remove = append(p.remove, x)
		}
	}
	if newest != nil && oldest != nil && s.available(newest) {
		p.remove = append(p.remove, oldest)
	}
}
