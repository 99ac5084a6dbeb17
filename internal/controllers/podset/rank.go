package podset

import (
	"math/bits"
	"sort"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// DeletionCost is the value of the annotation controller.kubernetes.io/pod-deletion-cost (KEP-2255); a
// missing or malformed one counts as 0.
func DeletionCost(pod *corev1.Pod) int32 {
	v, err := strconv.ParseInt(pod.Annotations[corev1.PodDeletionCost], 10, 32)
	if err != nil {
		return 0
	}
	return int32(v)
}

// RankForDeletion sorts pods so that those to delete first come first: pods without a node, then pending before
// unknown before running, not ready before ready, lower deletion cost, more siblings on the same
// node, ready for a shorter time, more restarts, younger. Times compare by their order of magnitude, so that
// pods of nearly one age are picked at random instead of by start order (KEP-2185).
// related are the pods that count as siblings.
func RankForDeletion(pods, related []*corev1.Pod, now time.Time) {
	onNode := map[string]int{}
	for _, p := range related {
		if IsActive(p) {
			onNode[p.Spec.NodeName]++
		}
	}
	sort.SliceStable(pods, func(i, j int) bool { return before(pods[i], pods[j], onNode, now) })
}

func before(a, b *corev1.Pod, onNode map[string]int, now time.Time) bool {
	if x, y := a.Spec.NodeName != "", b.Spec.NodeName != ""; x != y {
		return !x
	}
	if x, y := phaseRank(a), phaseRank(b); x != y {
		return x < y
	}
	readyA, readyB := IsReady(a), IsReady(b)
	if readyA != readyB {
		return !readyA
	}
	if x, y := DeletionCost(a), DeletionCost(b); x != y {
		return x < y
	}
	if x, y := onNode[a.Spec.NodeName], onNode[b.Spec.NodeName]; x != y {
		return x > y
	}
	if readyA && readyB {
		if x, y := magnitude(readySince(a), now), magnitude(readySince(b), now); x != y {
			return x < y
		}
	}
	if x, y := restarts(a), restarts(b); x != y {
		return x > y
	}
	if x, y := magnitude(a.CreationTimestamp.Time, now), magnitude(b.CreationTimestamp.Time, now); x != y {
		return x < y
	}
	return a.UID < b.UID
}

func phaseRank(p *corev1.Pod) int {
	switch p.Status.Phase {
	case corev1.PodPending, "":
		return 0
	case corev1.PodUnknown:
		return 1
	}
	return 2
}

func readySince(p *corev1.Pod) time.Time {
	if c := Condition(p, corev1.PodReady); c != nil && c.Status == corev1.ConditionTrue {
		return c.LastTransitionTime.Time
	}
	return time.Time{}
}

// magnitude is the order of magnitude (base 2) of the seconds since t; an unknown time is the youngest.
func magnitude(t, now time.Time) int {
	if t.IsZero() || !now.After(t) {
		return -1
	}
	return bits.Len64(uint64(now.Sub(t)))
}

func restarts(p *corev1.Pod) (most int32) {
	for _, c := range p.Status.ContainerStatuses {
		most = max(most, c.RestartCount)
	}
	return most
}
