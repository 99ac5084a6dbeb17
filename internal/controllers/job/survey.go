package job

import (
	"slices"
	"strconv"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"hyperkube/internal/controllers/podset"
)

// Annotations that carry how often an index has failed from a pod to the next of its index (KEP-3850).
const (
	failureCountAnnotation = batchv1.JobIndexFailureCountAnnotation
	ignoredCountAnnotation = batchv1.JobIndexIgnoredFailureCountAnnotation
)

// survey is one look at a job and its pods.
type survey struct {
	job         *batchv1.Job
	now         time.Time
	indexed     bool
	perIndex    bool // failures are limited for each index
	replaceLate bool // only pods that have really ended are replaced
	completions int  // of an indexed job

	pods        []*corev1.Pod
	active      []*corev1.Pod
	terminating []*corev1.Pod
	ready       int32

	newSucceeded []*corev1.Pod // not in the status yet
	newFailed    []*corev1.Pod
	newCounted   []*corev1.Pod                                // those of newFailed that count
	ignored      map[types.UID]bool                           // those that do not
	delayed      map[int]*corev1.Pod                          // by index: keeps its finalizer until it has been replaced
	actions      map[types.UID]batchv1.PodFailurePolicyAction // what the failure policy says of new failures
	awaited      map[types.UID]bool                           // in the status, and still with the finalizer
	done         map[types.UID]bool                           // in the status, and without it
	trackedPods  []*corev1.Pod                                // with the finalizer
	failJob      string                                       // what a rule says that ends the job
	succeeded    int32                                        // in all
	failed       int32                                        // in all
	completed    indexes                                      // in all
	failedIdx    indexes                                      // in all
	failures     failures                                     // since the last success, these included
	released     func(types.UID) bool
}

func look(j *batchv1.Job, pods []*corev1.Pod, released func(types.UID) bool, before failures, now time.Time) *survey {
	s := &survey{
		job: j, now: now, pods: pods, released: released,
		indexed:     j.Spec.CompletionMode != nil && *j.Spec.CompletionMode == batchv1.IndexedCompletion,
		replaceLate: j.Spec.PodReplacementPolicy != nil && *j.Spec.PodReplacementPolicy == batchv1.Failed,
		completions: int(deref(j.Spec.Completions)),
		ignored:     map[types.UID]bool{}, awaited: map[types.UID]bool{}, done: map[types.UID]bool{},
		actions: map[types.UID]batchv1.PodFailurePolicyAction{}, delayed: map[int]*corev1.Pod{},
	}
	s.perIndex = s.indexed && j.Spec.BackoffLimitPerIndex != nil
	s.sort()
	s.readStatus()
	s.count()
	s.failures = before.after(s.newSucceeded, s.newCounted, now)
	if s.perIndex {
		s.delay()
	}
	return s
}

func (s *survey) sort() {
	for _, p := range s.pods {
		if s.tracked(p) {
			s.trackedPods = append(s.trackedPods, p)
		}
		switch {
		case podset.IsActive(p):
			s.active = append(s.active, p)
			if podset.IsReady(p) {
				s.ready++
			}
		case podset.IsTerminating(p):
			s.terminating = append(s.terminating, p)
		}
	}
}

// readStatus takes over what is counted already.
func (s *survey) readStatus() {
	st := &s.job.Status
	s.succeeded, s.failed = st.Succeeded, st.Failed
	if u := st.UncountedTerminatedPods; u != nil {
		with := map[types.UID]bool{}
		for _, p := range s.trackedPods {
			with[p.UID] = true
		}
		for _, uid := range slices.Concat(u.Succeeded, u.Failed) {
			if with[uid] {
				s.awaited[uid] = true
			} else {
				s.done[uid] = true
			}
		}
		s.succeeded += int32(len(u.Succeeded))
		s.failed += int32(len(u.Failed))
	}
	if s.indexed {
		// The lists are this controller's own; one that cannot be read counts as empty, and pods tell again.
		s.completed, _ = parseIndexes(st.CompletedIndexes, s.completions)
		if st.FailedIndexes != nil {
			s.failedIdx, _ = parseIndexes(*st.FailedIndexes, s.completions)
		}
	}
}

// count looks at pods that have ended and are not in the status yet.
func (s *survey) count() {
	var completed, failed []int
	for _, p := range s.trackedPods {
		if s.awaited[p.UID] {
			continue
		}
		i := indexOf(p)
		valid := !s.indexed || (i >= 0 && i < s.completions)
		switch {
		case !valid:
		case p.Status.Phase == corev1.PodSucceeded:
			if s.indexed && (s.completed.has(i) || slices.Contains(completed, i)) {
				continue
			}
			s.newSucceeded = append(s.newSucceeded, p)
			completed = append(completed, i)
		case s.hasFailed(p):
			if s.countFailure(p, i) {
				failed = append(failed, i)
			}
		}
	}
	if !s.indexed {
		s.succeeded += int32(len(s.newSucceeded))
	} else {
		s.completed = s.completed.with(completed)
		s.succeeded = int32(s.completed.count())
	}
	s.failed += int32(len(s.newCounted))
	if s.perIndex {
		failed = slices.DeleteFunc(failed, s.completed.has)
		s.failedIdx = s.failedIdx.with(failed)
	}
}

// countFailure says whether the failure of a pod is the end of its index.
func (s *survey) countFailure(p *corev1.Pod, i int) bool {
	s.newFailed = append(s.newFailed, p)
	action, message := batchv1.PodFailurePolicyActionCount, ""
	if s.job.Spec.PodFailurePolicy != nil {
		action, message = judge(s.job.Spec.PodFailurePolicy, s.perIndex, p)
		s.actions[p.UID] = action
	}
	if action == batchv1.PodFailurePolicyActionIgnore {
		s.ignored[p.UID] = true
		return false
	}
	s.newCounted = append(s.newCounted, p)
	if s.failJob == "" {
		s.failJob = message
	}
	return s.perIndex && (action == batchv1.PodFailurePolicyActionFailIndex || countOf(p, failureCountAnnotation) >= int(*s.job.Spec.BackoffLimitPerIndex))
}

// delay finds, for each index that will be tried again and has no pod for it yet, the pod that knows how often it has failed.
func (s *survey) delay() {
	running := map[int]bool{}
	for _, p := range s.active {
		running[indexOf(p)] = true
	}
	for _, p := range s.newFailed {
		i := indexOf(p)
		if running[i] || s.completed.has(i) || s.failedIdx.has(i) {
			continue
		}
		if old := s.delayed[i]; old == nil || tries(p) > tries(old) {
			s.delayed[i] = p
		}
	}
}

// tried is how often the index of a failed pod has failed now: as it counts, and what was ignored.
func (s *survey) tried(p *corev1.Pod) (counted, ignored int) {
	counted, ignored = countOf(p, failureCountAnnotation), countOf(p, ignoredCountAnnotation)
	if s.ignored[p.UID] {
		return counted, ignored + 1
	}
	return counted + 1, ignored
}

func tries(p *corev1.Pod) int {
	return countOf(p, failureCountAnnotation) + countOf(p, ignoredCountAnnotation)
}

func countOf(p *corev1.Pod, annotation string) int {
	n, err := strconv.Atoi(p.Annotations[annotation])
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// hasFailed: a pod that is being deleted counts as failed at once, unless only what has really ended is replaced.
func (s *survey) hasFailed(p *corev1.Pod) bool {
	if p.Status.Phase == corev1.PodFailed {
		return true
	}
	late := s.replaceLate && s.job.DeletionTimestamp == nil
	return !late && p.DeletionTimestamp != nil && p.Status.Phase != corev1.PodSucceeded
}

func (s *survey) tracked(p *corev1.Pod) bool { return tracked(p) && !s.released(p.UID) }

// tracked says whether a pod has not been counted yet.
func tracked(p *corev1.Pod) bool { return slices.Contains(p.Finalizers, batchv1.JobTrackingFinalizer) }

// indexOf is a pod's completion index; -1 for one that has none.
func indexOf(p *corev1.Pod) int {
	i, err := strconv.Atoi(p.Annotations[batchv1.JobCompletionIndexAnnotation])
	if err != nil || i < 0 {
		return -1
	}
	return i
}

// restarts adds up how often containers of a pod were restarted.
func restarts(p *corev1.Pod) (n int32) {
	for _, list := range [][]corev1.ContainerStatus{p.Status.InitContainerStatuses, p.Status.ContainerStatuses} {
		for i := range list {
			n += list[i].RestartCount
		}
	}
	return n
}
