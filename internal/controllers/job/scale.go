package job

import (
	"cmp"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"hyperkube/internal/controllers/podset"
)

// burst bounds how many pods one reconcile creates or deletes.
const burst = 500

// plan is what to do about pods.
type plan struct {
	remove []*corev1.Pod
	count  bool          // what is removed counts as failed
	create int           // pods without an index
	index  []int         // pods with one
	again  time.Duration // when to look again; 0 for never
}

// plan decides which pods are missing and which are too many. v is why the job is over, if it is.
func (s *survey) plan(v *verdict) plan {
	switch {
	case s.job.DeletionTimestamp != nil:
		return plan{}
	case v != nil:
		return plan{remove: s.first(s.active, burst), count: v.failed()}
	case s.suspended():
		return plan{remove: s.first(s.active, burst)}
	}
	active := s.active
	var p plan
	if s.indexed {
		active, p.remove = s.misplaced()
	}
	want := s.wanted(len(active))
	if surplus := len(active) - want; surplus > 0 {
		ranked := slices.Clone(active)
		podset.RankForDeletion(ranked, s.active, s.now)
		p.remove = append(p.remove, ranked[:surplus]...)
	}
	if len(p.remove) > 0 {
		p.remove = s.first(p.remove, burst)
		return p
	}
	missing := want - len(active)
	if s.replaceLate {
		missing -= len(s.terminating)
	}
	if missing = min(missing, burst); missing <= 0 {
		return p
	}
	if !s.perIndex {
		if p.again = s.failures.left(s.now); p.again > 0 {
			return p
		}
	}
	if s.indexed {
		p.index, p.again = s.pending(active, missing)
	} else {
		p.create = missing
	}
	return p
}

func (s *survey) first(pods []*corev1.Pod, n int) []*corev1.Pod { return pods[:min(n, len(pods))] }

// wanted is how many pods should be active.
func (s *survey) wanted(active int) int {
	parallel := int(deref(s.job.Spec.Parallelism))
	if s.job.Spec.Completions == nil {
		if s.succeeded > 0 { // the work is done; what runs may finish
			return min(active, parallel)
		}
		return parallel
	}
	left := int(*s.job.Spec.Completions) - int(s.succeeded) - s.failedIdx.count()
	return max(0, min(left, parallel))
}

// misplaced splits active pods of an indexed job into those that are needed, one for each index, and the others.
func (s *survey) misplaced() (good, bad []*corev1.Pod) {
	sorted := slices.Clone(s.active)
	podset.RankForDeletion(sorted, s.active, s.now)
	slices.Reverse(sorted) // the best first
	seen := map[int]bool{}
	for _, p := range sorted {
		i := indexOf(p)
		if i < 0 || i >= s.completions || seen[i] || s.completed.has(i) || s.failedIdx.has(i) {
			bad = append(bad, p)
			continue
		}
		seen[i] = true
		good = append(good, p)
	}
	return good, bad
}

// pending gives the lowest n indexes that need a pod; again is when the first of those that must wait may have one.
func (s *survey) pending(active []*corev1.Pod, n int) (out []int, again time.Duration) {
	taken := make(map[int]bool, len(active))
	for _, p := range active {
		taken[indexOf(p)] = true
	}
	if s.replaceLate {
		for _, p := range s.terminating {
			taken[indexOf(p)] = true
		}
	}
	for i := 0; i < s.completions && len(out) < n; i++ {
		if taken[i] || s.completed.has(i) || s.failedIdx.has(i) {
			continue
		}
		if d := s.delayed[i]; d != nil {
			counted, ignored := s.tried(d)
			if left := delay(counted+ignored, ended(d, s.now), s.now); left > 0 {
				again = soonest(again, left)
				continue
			}
		}
		out = append(out, i)
	}
	return out, again
}

// soonest is the smaller of two waits, of which 0 is none.
func soonest(a, b time.Duration) time.Duration {
	if a == 0 || b == 0 {
		return cmp.Or(a, b)
	}
	return min(a, b)
}
