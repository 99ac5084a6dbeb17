package job

import (
	"github.com/prometheus/client_golang/prometheus"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"hyperkube/internal/controllers"
	"hyperkube/internal/controllers/podset"
)

// metrics are named as upstream's.
type metrics struct {
	jobs, pods, indexes, policy, finalizers, created, external *prometheus.CounterVec
}

func newMetrics(d controllers.Deps) metrics {
	const p = "job_controller_"
	return metrics{
		jobs:       d.Counter(p+"jobs_finished_total", "The number of finished jobs", "completion_mode", "result", "reason"),
		pods:       d.Counter(p+"job_pods_finished_total", "The number of finished Pods that are fully tracked", "completion_mode", "result"),
		indexes:    d.Counter(p+"job_finished_indexes_total", "The number of finished indexes", "status", "backoffLimit"),
		policy:     d.Counter(p+"pod_failures_handled_by_failure_policy_total", "The number of failed Pods handled by failure policy with respect to the failure policy action", "action"),
		finalizers: d.Counter(p+"terminated_pods_tracking_finalizer_total", "The number of terminated pods that have, or have lost, the finalizer batch.kubernetes.io/job-tracking", "event"),
		created:    d.Counter(p+"job_pods_creation_total", "The number of Pods created by the Job controller, labelled with a reason for the Pod creation", "reason", "status"),
		external:   d.Counter(p+"jobs_by_external_controller_total", "The number of Jobs managed by an external controller", "controller_name"),
	}
}

func mode(j *batchv1.Job) string {
	if m := j.Spec.CompletionMode; m != nil {
		return string(*m)
	}
	return string(batchv1.NonIndexedCompletion)
}

// wrote counts what a status that was written has more than the one before.
func (m *metrics) wrote(old, next *batchv1.Job) {
	add := func(v *prometheus.CounterVec, n int32, labels ...string) {
		if n > 0 {
			v.WithLabelValues(labels...).Add(float64(n))
		}
	}
	good, bad := next.Status.Succeeded-old.Status.Succeeded, next.Status.Failed-old.Status.Failed
	add(m.pods, good, mode(next), "succeeded")
	add(m.pods, bad, mode(next), "failed")
	if mode(next) == string(batchv1.IndexedCompletion) {
		limit := "global"
		if next.Spec.BackoffLimitPerIndex != nil {
			limit = "perIndex"
		}
		add(m.indexes, good, "succeeded", limit)
		add(m.indexes, failedIndexes(next)-failedIndexes(old), "failed", limit)
	}
	if end := finished(next); end != nil && finished(old) == nil {
		result := "succeeded"
		if end.Type == batchv1.JobFailed {
			result = "failed"
		}
		m.jobs.WithLabelValues(mode(next), result, end.Reason).Inc()
	}
}

func failedIndexes(j *batchv1.Job) int32 {
	if j.Status.FailedIndexes == nil {
		return 0
	}
	x, err := parseIndexes(*j.Status.FailedIndexes, int(deref(j.Spec.Completions)))
	if err != nil {
		return 0
	}
	return int32(x.count())
}

// create counts n pods, of which done could be made.
func (m *metrics) create(s *survey, n, done int) {
	reason := "new"
	switch {
	case len(s.terminating) == 0 && s.failed == 0:
	case s.replaceLate:
		reason = "recreate_failed"
	default:
		reason = "recreate_terminating_or_failed"
	}
	m.created.WithLabelValues(reason, "succeeded").Add(float64(done))
	m.created.WithLabelValues(reason, "failed").Add(float64(n - done))
}

// follow counts pods that have ended and still have the finalizer, and those that lose it.
func (m *metrics) follow(old, new *corev1.Pod) {
	held := func(p *corev1.Pod) bool { return p != nil && podset.IsTerminal(p) && tracked(p) }
	switch was, is := held(old), held(new); {
	case is && !was:
		m.finalizers.WithLabelValues("add").Inc()
	case was && !is:
		m.finalizers.WithLabelValues("delete").Inc()
	}
}
