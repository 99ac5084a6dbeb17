package job

import (
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// verdict is why a job is over: the condition of the interim type FailureTarget or SuccessCriteriaMet.
type verdict struct {
	kind            batchv1.JobConditionType
	reason, message string
}

func (v *verdict) failed() bool { return v.kind == batchv1.JobFailureTarget }

// final is the condition that follows when no pod is left.
func (v *verdict) final() batchv1.JobConditionType {
	if v.failed() {
		return batchv1.JobFailed
	}
	return batchv1.JobComplete
}

// verdict says whether the job is over; nil while it is not.
func (s *survey) verdict() *verdict {
	for _, t := range []batchv1.JobConditionType{batchv1.JobFailureTarget, batchv1.JobSuccessCriteriaMet} {
		if c := condition(s.job, t); c != nil && c.Status == corev1.ConditionTrue {
			return &verdict{t, c.Reason, c.Message}
		}
	}
	if v := s.failure(); v != nil {
		return v
	}
	if s.indexed {
		if m, ok := succeededBy(s.job.Spec.SuccessPolicy, s.completed, s.completions); ok {
			return &verdict{batchv1.JobSuccessCriteriaMet, batchv1.JobReasonSuccessPolicy, m}
		}
	}
	done := s.succeeded > 0 && len(s.active) == 0
	if s.job.Spec.Completions != nil {
		done = s.succeeded >= *s.job.Spec.Completions
	}
	if done {
		return &verdict{batchv1.JobSuccessCriteriaMet, batchv1.JobReasonCompletionsReached, "Reached expected number of succeeded pods"}
	}
	return nil
}

func (s *survey) failure() *verdict {
	fail := func(reason, message string) *verdict { return &verdict{batchv1.JobFailureTarget, reason, message} }
	spec := &s.job.Spec
	switch {
	case s.failJob != "":
		return fail(batchv1.JobReasonPodFailurePolicy, s.failJob)
	case (len(s.newCounted) > 0 && s.failed > deref(spec.BackoffLimit)) || s.restartedTooOften():
		return fail(batchv1.JobReasonBackoffLimitExceeded, "Job has reached the specified backoff limit")
	}
	if left, ok := s.untilDeadline(); ok && left <= 0 {
		return fail(batchv1.JobReasonDeadlineExceeded, "Job was active longer than specified deadline")
	}
	if !s.perIndex {
		return nil
	}
	n := s.failedIdx.count()
	switch {
	case spec.MaxFailedIndexes != nil && n > int(*spec.MaxFailedIndexes):
		return fail(batchv1.JobReasonMaxFailedIndexesExceeded, "Job has exceeded the specified maximal number of failed indexes")
	case n > 0 && n+s.completed.count() >= s.completions:
		return fail(batchv1.JobReasonFailedIndexes, "Job has failed indexes")
	}
	return nil
}

// restartedTooOften: containers that are restarted in their pod count towards the limit as failed pods do.
func (s *survey) restartedTooOften() bool {
	if s.job.Spec.Template.Spec.RestartPolicy != corev1.RestartPolicyOnFailure {
		return false
	}
	var n int32
	for _, p := range s.active {
		n += restarts(p)
	}
	limit := deref(s.job.Spec.BackoffLimit)
	return n > 0 && n >= limit
}

// untilDeadline is how long the job may still run; ok is false for one without a deadline or that does not run.
func (s *survey) untilDeadline() (left time.Duration, ok bool) {
	d, start := s.job.Spec.ActiveDeadlineSeconds, s.job.Status.StartTime
	if d == nil || start == nil || s.suspended() {
		return 0, false
	}
	return start.Add(time.Duration(*d) * time.Second).Sub(s.now), true
}

func (s *survey) suspended() bool { return s.job.Spec.Suspend != nil && *s.job.Spec.Suspend }

func condition(j *batchv1.Job, t batchv1.JobConditionType) *batchv1.JobCondition {
	if i := slices.IndexFunc(j.Status.Conditions, func(c batchv1.JobCondition) bool { return c.Type == t }); i >= 0 {
		return &j.Status.Conditions[i]
	}
	return nil
}

// finished is the condition with which a job has ended; nil while it has not.
func finished(j *batchv1.Job) *batchv1.JobCondition {
	for _, t := range []batchv1.JobConditionType{batchv1.JobComplete, batchv1.JobFailed} {
		if c := condition(j, t); c != nil && c.Status == corev1.ConditionTrue {
			return c
		}
	}
	return nil
}

// setCondition says whether anything changed.
func setCondition(j *batchv1.Job, t batchv1.JobConditionType, status corev1.ConditionStatus, reason, message string, now time.Time) bool {
	at := metav1.NewTime(now)
	next := batchv1.JobCondition{Type: t, Status: status, Reason: reason, Message: message, LastProbeTime: at, LastTransitionTime: at}
	if old := condition(j, t); old != nil {
		if old.Status == status && old.Reason == reason && old.Message == message {
			return false
		}
		*old = next
		return true
	}
	j.Status.Conditions = append(j.Status.Conditions, next)
	return true
}
