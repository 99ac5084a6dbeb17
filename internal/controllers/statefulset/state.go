package statefulset

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"hyperkube/internal/controllers/podset"
)

// state is one look at a set and its pods.
type state struct {
	set             *appsv1.StatefulSet
	now             time.Time
	current, update *appsv1.ControllerRevision
	// slots has the pod of each number that there should be, nil where it is missing; slot 0 is the first number.
	slots []*corev1.Pod
	// surplus are pods of other numbers, the highest first.
	surplus []*corev1.Pod
}

func (s *state) sort(pods []*corev1.Pod) {
	s.slots = make([]*corev1.Pod, replicas(s.set))
	for _, p := range pods {
		n, ok := ordinalOf(s.set, p.Name)
		if !ok {
			continue // selected, but not one of the set's
		}
		if i := n - start(s.set); i >= 0 && i < len(s.slots) {
			s.slots[i] = p
		} else {
			s.surplus = append(s.surplus, p)
		}
	}
	slices.SortFunc(s.surplus, func(a, b *corev1.Pod) int {
		x, _ := ordinalOf(s.set, a.Name)
		y, _ := ordinalOf(s.set, b.Name)
		return cmp.Compare(y, x)
	})
}

func replicas(set *appsv1.StatefulSet) int {
	if set.Spec.Replicas == nil {
		return 1
	}
	return int(*set.Spec.Replicas)
}

// start is the number of the first pod.
func start(set *appsv1.StatefulSet) int {
	if set.Spec.Ordinals == nil {
		return 0
	}
	return int(set.Spec.Ordinals.Start)
}

// ordinalOf reads the number from the name of one of the set's pods.
func ordinalOf(set *appsv1.StatefulSet, name string) (int, bool) {
	text, ok := strings.CutPrefix(name, set.Name+"-")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || n < 0 || strconv.FormatInt(n, 10) != text {
		return 0, false
	}
	return int(n), true
}

func revisionOf(p *corev1.Pod) string { return p.Labels[appsv1.StatefulSetRevisionLabel] }

func (s *state) updated(p *corev1.Pod) bool { return revisionOf(p) == s.update.Name }

// ready pods run and are not on their way out.
func ready(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodRunning && podset.IsReady(p)
}

// healthy pods are ready for long enough, and stay.
func (s *state) healthy(p *corev1.Pod) bool {
	return p != nil && p.DeletionTimestamp == nil && ready(p) && podset.IsAvailable(p, s.set.Spec.MinReadySeconds, s.now)
}
