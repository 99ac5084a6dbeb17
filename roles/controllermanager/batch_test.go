package controllermanager_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"hyperkube/internal/client"
)

func TestBatch(t *testing.T) {
	c := start(t, nil)
	c.node(t, "n1", nil)
	c.pretend(t, "n1")
	t.Run("complete", func(t *testing.T) { completes(t, c) })
	t.Run("failed", func(t *testing.T) { fails(t, c) })
	t.Run("indexed and suspended", func(t *testing.T) { suspends(t, c) })
	t.Run("adoption", func(t *testing.T) { adoptsPods(t, c) })
	t.Run("cron job", func(t *testing.T) { scheduled(t, c) })
}

func newJob(ns, name, ends string, change ...func(*batchv1.JobSpec)) *batchv1.Job {
	tmpl := template(name, "image:1")
	tmpl.Spec.RestartPolicy = corev1.RestartPolicyNever
	if ends != "" {
		tmpl.Labels["ends"] = ends
	}
	j := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}, Spec: batchv1.JobSpec{Template: tmpl}}
	for _, f := range change {
		f(&j.Spec)
	}
	return j
}

// has wants a condition to be true, with a reason.
func has(j *batchv1.Job, t batchv1.JobConditionType, reason string) error {
	for _, c := range j.Status.Conditions {
		if c.Type == t && c.Status == corev1.ConditionTrue && c.Reason == reason {
			return nil
		}
	}
	return fmt.Errorf("no condition %s because of %s: %+v", t, reason, j.Status)
}

func completes(t *testing.T, c *cluster) {
	ns := c.namespace(t, "complete")
	_, err := client.Jobs.Create(c.ctx, c.admin, newJob(ns, "j", "Succeeded", func(s *batchv1.JobSpec) { s.Completions, s.Parallelism = ptr.To(int32(5)), ptr.To(int32(2)) }))
	require.NoError(t, err)
	j := awaitOne(t, c, client.Jobs, ns, "j", func(j *batchv1.Job) error { return has(j, batchv1.JobComplete, "CompletionsReached") })
	require.NoError(t, has(j, batchv1.JobSuccessCriteriaMet, "CompletionsReached"))
	s := j.Status
	require.Equal(t, []int32{5, 0, 0, 0, 0}, []int32{s.Succeeded, s.Failed, s.Active, *s.Ready, *s.Terminating})
	require.Empty(t, s.UncountedTerminatedPods.Succeeded)
	require.NotNil(t, s.CompletionTime)
	await(t, c, client.Pods, ns, func(all []*corev1.Pod) error {
		if len(all) != 5 {
			return fmt.Errorf("%d pods", len(all))
		}
		for _, p := range all {
			if len(p.Finalizers) > 0 {
				return fmt.Errorf("%s has finalizers", p.Name)
			}
		}
		return nil
	})
	// Its time is over at once, and its pods go with it.
	_, err = client.Jobs.Modify(c.ctx, c.admin, ns, "j", func(j *batchv1.Job) bool { j.Spec.TTLSecondsAfterFinished = ptr.To(int32(0)); return true })
	require.NoError(t, err)
	gone(t, c, client.Jobs, ns, "j")
	noPods(t, c, ns)
}

func noPods(t *testing.T, c *cluster, ns string) {
	t.Helper()
	await(t, c, client.Pods, ns, func(all []*corev1.Pod) error {
		if len(all) > 0 {
			return fmt.Errorf("%d pods", len(all))
		}
		return nil
	})
}

func fails(t *testing.T, c *cluster) {
	ns := c.namespace(t, "failed")
	_, err := client.Jobs.Create(c.ctx, c.admin, newJob(ns, "j", "Failed", func(s *batchv1.JobSpec) { s.BackoffLimit = ptr.To(int32(0)) }))
	require.NoError(t, err)
	j := awaitOne(t, c, client.Jobs, ns, "j", func(j *batchv1.Job) error { return has(j, batchv1.JobFailed, "BackoffLimitExceeded") })
	require.NoError(t, has(j, batchv1.JobFailureTarget, "BackoffLimitExceeded"))
	require.Equal(t, int32(1), j.Status.Failed)
	require.Nil(t, j.Status.CompletionTime)

	// One of three indexes fails for good; the others run on, and then the job fails.
	_, err = client.Jobs.Create(c.ctx, c.admin, newJob(ns, "i", "", func(s *batchv1.JobSpec) {
		s.CompletionMode, s.BackoffLimitPerIndex = ptr.To(batchv1.IndexedCompletion), ptr.To(int32(0))
		s.Completions, s.Parallelism = ptr.To(int32(3)), ptr.To(int32(3))
	}))
	require.NoError(t, err)
	await(t, c, client.Pods, ns, running("i", 3))
	for _, p := range await(t, c, client.Pods, ns, running("i", 3)) {
		if p.Labels["app"] != "i" {
			continue
		}
		phase := corev1.PodSucceeded
		if p.Annotations[batchv1.JobCompletionIndexAnnotation] == "1" {
			phase = corev1.PodFailed
		}
		end(t, c, p, phase)
	}
	j = awaitOne(t, c, client.Jobs, ns, "i", func(j *batchv1.Job) error { return has(j, batchv1.JobFailed, "FailedIndexes") })
	require.Equal(t, "0,2", j.Status.CompletedIndexes)
	require.Equal(t, "1", *j.Status.FailedIndexes)
}

func running(app string, n int) func([]*corev1.Pod) error {
	return func(all []*corev1.Pod) error {
		have := 0
		for _, p := range all {
			if p.Labels["app"] == app && p.Status.Phase == corev1.PodRunning && p.DeletionTimestamp == nil {
				have++
			}
		}
		if have != n {
			return fmt.Errorf("%d of %d pods run", have, n)
		}
		return nil
	}
}

func end(t *testing.T, c *cluster, p *corev1.Pod, phase corev1.PodPhase) {
	t.Helper()
	_, err := client.Pods.Modify(c.ctx, c.admin, p.Namespace, p.Name, func(p *corev1.Pod) bool { p.Status.Phase = phase; return true }, "status")
	require.NoError(t, err)
}

func suspends(t *testing.T, c *cluster) {
	ns := c.namespace(t, "suspended")
	_, err := client.Jobs.Create(c.ctx, c.admin, newJob(ns, "j", "", func(s *batchv1.JobSpec) {
		s.Suspend, s.CompletionMode = ptr.To(true), ptr.To(batchv1.IndexedCompletion)
		s.Completions, s.Parallelism = ptr.To(int32(2)), ptr.To(int32(2))
	}))
	require.NoError(t, err)
	awaitOne(t, c, client.Jobs, ns, "j", func(j *batchv1.Job) error { return has(j, batchv1.JobSuspended, "JobSuspended") })
	suspend := func(on bool) {
		_, err := client.Jobs.Modify(c.ctx, c.admin, ns, "j", func(j *batchv1.Job) bool { j.Spec.Suspend = &on; return true })
		require.NoError(t, err)
	}
	suspend(false)
	await(t, c, client.Pods, ns, running("j", 2))
	suspend(true)
	j := awaitOne(t, c, client.Jobs, ns, "j", func(j *batchv1.Job) error {
		if j.Status.Active > 0 || j.Status.StartTime != nil {
			return fmt.Errorf("still active: %+v", j.Status)
		}
		return has(j, batchv1.JobSuspended, "JobSuspended")
	})
	require.Zero(t, j.Status.Failed, "pods of a suspended job are no failures")
	noPods(t, c, ns)
	suspend(false)
	await(t, c, client.Pods, ns, running("j", 2))
	// A job that is deleted in the background leaves no pod behind that waits for it.
	background := metav1.DeletePropagationBackground
	require.NoError(t, c.admin.Delete(c.ctx, client.Jobs.GVR, ns, "j", metav1.DeleteOptions{PropagationPolicy: &background}))
	gone(t, c, client.Jobs, ns, "j")
	noPods(t, c, ns)
}

func adoptsPods(t *testing.T, c *cluster) {
	ns := c.namespace(t, "adoption-by-job")
	_, err := client.Jobs.Create(c.ctx, c.admin, newJob(ns, "j", ""))
	require.NoError(t, err)
	p := await(t, c, client.Pods, ns, running("j", 1))[0]
	_, err = client.Pods.Modify(c.ctx, c.admin, ns, p.Name, func(p *corev1.Pod) bool { p.OwnerReferences = nil; return true })
	require.NoError(t, err)
	awaitOne(t, c, client.Pods, ns, p.Name, func(p *corev1.Pod) error {
		if len(p.OwnerReferences) != 1 || len(p.Finalizers) != 1 {
			return fmt.Errorf("not adopted: %+v", p.ObjectMeta)
		}
		return nil
	})
	_, err = client.Pods.Modify(c.ctx, c.admin, ns, p.Name, func(p *corev1.Pod) bool { p.Labels = nil; return true })
	require.NoError(t, err)
	awaitOne(t, c, client.Pods, ns, p.Name, func(p *corev1.Pod) error {
		if len(p.OwnerReferences)+len(p.Finalizers) > 0 {
			return fmt.Errorf("not released: %+v", p.ObjectMeta)
		}
		return nil
	})
}

func scheduled(t *testing.T, c *cluster) {
	ns := c.namespace(t, "scheduled")
	_, err := client.CronJobs.Create(c.ctx, c.admin, &batchv1.CronJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "cj"},
		Spec:       batchv1.CronJobSpec{Schedule: "@every 1s", ConcurrencyPolicy: batchv1.ForbidConcurrent, JobTemplate: batchv1.JobTemplateSpec{Spec: newJob(ns, "j", "").Spec}},
	})
	require.NoError(t, err)
	cj := awaitOne(t, c, client.CronJobs, ns, "cj", func(cj *batchv1.CronJob) error {
		if cj.Status.LastScheduleTime == nil || len(cj.Status.Active) != 1 {
			return fmt.Errorf("nothing started: %+v", cj.Status)
		}
		return nil
	})
	name := cj.Status.Active[0].Name
	require.Equal(t, fmt.Sprintf("cj-%d", cj.Status.LastScheduleTime.Unix()/60), name)
	_, err = client.CronJobs.Modify(c.ctx, c.admin, ns, "cj", func(cj *batchv1.CronJob) bool {
		cj.Spec.Suspend, cj.Spec.SuccessfulJobsHistoryLimit = ptr.To(true), ptr.To(int32(0))
		return true
	})
	require.NoError(t, err)
	end(t, c, await(t, c, client.Pods, ns, running("j", 1))[0], corev1.PodSucceeded)
	awaitOne(t, c, client.CronJobs, ns, "cj", func(cj *batchv1.CronJob) error {
		if cj.Status.LastSuccessfulTime == nil || len(cj.Status.Active) > 0 {
			return fmt.Errorf("its end was not seen: %+v", cj.Status)
		}
		return nil
	})
	gone(t, c, client.Jobs, ns, name)
	_, err = client.CronJobs.Create(c.ctx, c.admin, &batchv1.CronJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "bad"},
		Spec:       batchv1.CronJobSpec{Schedule: "@every 1s", TimeZone: ptr.To("Moon/Tycho"), JobTemplate: batchv1.JobTemplateSpec{Spec: newJob(ns, "j", "").Spec}},
	})
	require.True(t, apierrors.IsInvalid(err), err)
}
