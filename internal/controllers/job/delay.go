package job

import (
	"cmp"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"hyperkube/internal/controllers/podset"
)

// After a failure the next pod waits, twice as long for each further one.
const (
	firstDelay = 10 * time.Second
	maxDelay   = 10 * time.Minute
)

// failures are those since the last success, for the delay of a job as a whole.
type failures struct {
	count int
	last  time.Time
}

// after adds pods that have ended.
func (f failures) after(succeeded, failed []*corev1.Pod, now time.Time) failures {
	type end struct {
		at time.Time
		ok bool
	}
	var ends []end
	for _, p := range succeeded {
		ends = append(ends, end{ended(p, now), true})
	}
	for _, p := range failed {
		ends = append(ends, end{ended(p, now), false})
	}
	slices.SortStableFunc(ends, func(a, b end) int { return a.at.Compare(b.at) })
	for _, e := range ends {
		if e.ok {
			f = failures{}
			continue
		}
		f.count++
		if e.at.After(f.last) {
			f.last = e.at
		}
	}
	return f
}

// left is how long the next pod has to wait.
func (f failures) left(now time.Time) time.Duration { return delay(f.count, f.last, now) }

func delay(count int, last, now time.Time) time.Duration {
	if count == 0 {
		return 0
	}
	wait := maxDelay
	if count < 8 {
		wait = min(maxDelay, firstDelay<<(count-1))
	}
	return max(0, last.Add(wait).Sub(now))
}

// ended is when a pod came to its end: when its last container did, or else when it stopped being ready or was deleted.
func ended(p *corev1.Pod, now time.Time) time.Time {
	var last time.Time
	for _, list := range [][]corev1.ContainerStatus{p.Status.InitContainerStatuses, p.Status.ContainerStatuses} {
		for _, s := range list {
			if t := s.State.Terminated; t != nil && t.FinishedAt.After(last) {
				last = t.FinishedAt.Time
			}
		}
	}
	if !last.IsZero() {
		return last
	}
	if c := podset.Condition(p, corev1.PodReady); c != nil && c.Status == corev1.ConditionFalse && !c.LastTransitionTime.IsZero() {
		return c.LastTransitionTime.Time
	}
	if p.DeletionTimestamp != nil {
		grace := time.Duration(deref(p.DeletionGracePeriodSeconds)) * time.Second
		return p.DeletionTimestamp.Add(-grace)
	}
	return now
}

func deref[T cmp.Ordered](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
