package job

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func job(change ...func(*batchv1.Job)) *batchv1.Job {
	j := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "j", UID: "j"},
		Spec: batchv1.JobSpec{
			Parallelism: ptr.To(int32(2)), Completions: ptr.To(int32(4)), BackoffLimit: ptr.To(int32(6)),
			Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "c"}}}},
		},
	}
	for _, f := range change {
		f(j)
	}
	return j
}

func indexedJob(j *batchv1.Job) { j.Spec.CompletionMode = ptr.To(batchv1.IndexedCompletion) }

func perIndex(limit int32) func(*batchv1.Job) {
	return func(j *batchv1.Job) {
		indexedJob(j)
		j.Spec.BackoffLimitPerIndex = &limit
		j.Spec.BackoffLimit = ptr.To(int32(1 << 30))
	}
}

var serial int

func pod(phase corev1.PodPhase, change ...func(*corev1.Pod)) *corev1.Pod {
	serial++
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: fmt.Sprint("p", serial), UID: types.UID(fmt.Sprint("p", serial)), Finalizers: []string{batchv1.JobTrackingFinalizer}},
		Status:     corev1.PodStatus{Phase: phase},
	}
	for _, f := range change {
		f(p)
	}
	return p
}

func at(index, failed int) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Annotations = map[string]string{batchv1.JobCompletionIndexAnnotation: strconv.Itoa(index), failureCountAnnotation: strconv.Itoa(failed)}
	}
}

func exited(code int32, ago time.Duration) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "c", State: corev1.ContainerState{
			Terminated: &corev1.ContainerStateTerminated{ExitCode: code, FinishedAt: metav1.NewTime(now.Add(-ago))}}}}
	}
}

func doomed(p *corev1.Pod) { t := metav1.NewTime(now); p.DeletionTimestamp = &t }

func see(j *batchv1.Job, pods ...*corev1.Pod) *survey {
	return look(j, pods, func(types.UID) bool { return false }, failures{}, now)
}

func TestPlan(t *testing.T) {
	run, ok, bad := corev1.PodRunning, corev1.PodSucceeded, corev1.PodFailed
	with := func(f func(*batchv1.Job)) *batchv1.Job { return job(f) }
	late := func(j *batchv1.Job) { j.Spec.PodReplacementPolicy = ptr.To(batchv1.Failed) }
	for name, c := range map[string]struct {
		s              *survey
		create, remove int
		index          []int
		waits          bool
	}{
		"new":                    {s: see(job()), create: 2},
		"full":                   {s: see(job(), pod(run), pod(run))},
		"one ended":              {s: see(job(), pod(run), pod(ok)), create: 1},
		"last one":               {s: see(job(), pod(run), pod(ok), pod(ok), pod(ok))},
		"too many":               {s: see(job(), pod(run), pod(run), pod(run)), remove: 1},
		"suspended":              {s: see(with(func(j *batchv1.Job) { j.Spec.Suspend = ptr.To(true) }), pod(run), pod(run)), remove: 2},
		"work queue":             {s: see(with(func(j *batchv1.Job) { j.Spec.Completions = nil }), pod(run)), create: 1},
		"work queue is empty":    {s: see(with(func(j *batchv1.Job) { j.Spec.Completions = nil }), pod(run), pod(ok))},
		"just failed":            {s: see(job(), pod(run), pod(bad, exited(1, time.Second))), waits: true},
		"failed a while ago":     {s: see(job(), pod(run), pod(bad, exited(1, time.Minute))), create: 1},
		"ends: replaced at once": {s: see(job(), pod(run), pod(run, doomed, exited(1, time.Minute))), create: 1},
		"ends: replaced late":    {s: see(with(late), pod(run), pod(run, doomed))},
		"being deleted":          {s: see(with(func(j *batchv1.Job) { t := metav1.NewTime(now); j.DeletionTimestamp = &t }))},
		"indexes":                {s: see(job(indexedJob)), index: []int{0, 1}},
		"next index":             {s: see(job(indexedJob), pod(ok, at(0, 0)), pod(run, at(1, 0))), index: []int{2}},
		"twins":                  {s: see(job(indexedJob), pod(run, at(0, 0)), pod(run, at(0, 0))), remove: 1},
		"index out of range":     {s: see(job(indexedJob), pod(run, at(9, 0)), pod(run, at(0, 0))), remove: 1},
		"index fails":            {s: see(job(perIndex(0)), pod(bad, at(0, 0)), pod(run, at(1, 0))), index: []int{2}},
		"index waits, next goes": {s: see(job(perIndex(1)), pod(bad, at(0, 0), exited(1, 0)), pod(run, at(1, 0))), index: []int{2}, waits: true},
		"index again":            {s: see(job(perIndex(1)), pod(bad, at(0, 0), exited(1, time.Minute)), pod(run, at(1, 0))), index: []int{0}},
	} {
		p := c.s.plan(c.s.verdict())
		require.Equal(t, c.create, p.create, name)
		require.Len(t, p.remove, c.remove, name)
		require.Equal(t, c.index, p.index, name)
		require.Equal(t, c.waits, p.again > 0, name)
	}
}

func TestVerdict(t *testing.T) {
	run, ok, bad := corev1.PodRunning, corev1.PodSucceeded, corev1.PodFailed
	failOn := func(a batchv1.PodFailurePolicyAction, codes ...int32) func(*batchv1.Job) {
		return func(j *batchv1.Job) {
			j.Spec.PodFailurePolicy = &batchv1.PodFailurePolicy{Rules: []batchv1.PodFailurePolicyRule{{
				Action: a, OnExitCodes: &batchv1.PodFailurePolicyOnExitCodesRequirement{Operator: batchv1.PodFailurePolicyOnExitCodesOpIn, Values: codes}}}}
		}
	}
	limit := func(n int32) func(*batchv1.Job) { return func(j *batchv1.Job) { j.Spec.BackoffLimit = &n } }
	success := func(r ...batchv1.SuccessPolicyRule) func(*batchv1.Job) {
		return func(j *batchv1.Job) { j.Spec.SuccessPolicy = &batchv1.SuccessPolicy{Rules: r} }
	}
	for name, c := range map[string]struct {
		s    *survey
		want string
	}{
		"running":        {see(job(), pod(run)), ""},
		"all succeeded":  {see(job(), pod(ok), pod(ok), pod(ok), pod(ok)), "CompletionsReached"},
		"none wanted":    {see(job(func(j *batchv1.Job) { j.Spec.Completions = ptr.To(int32(0)); j.Spec.Suspend = ptr.To(true) })), "CompletionsReached"},
		"queue runs":     {see(job(func(j *batchv1.Job) { j.Spec.Completions = nil }), pod(ok), pod(run)), ""},
		"queue is empty": {see(job(func(j *batchv1.Job) { j.Spec.Completions = nil }), pod(ok), pod(bad)), "CompletionsReached"},
		"one index only": {see(job(indexedJob), pod(ok, at(0, 0)), pod(ok, at(0, 0)), pod(ok, at(0, 0)), pod(ok, at(0, 0))), ""},
		"within limit":   {see(job(limit(1)), pod(bad)), ""},
		"beyond limit":   {see(job(limit(1)), pod(bad), pod(bad)), "BackoffLimitExceeded"},
		"ignored":        {see(job(limit(0), failOn(batchv1.PodFailurePolicyActionIgnore, 3)), pod(bad, exited(3, 0))), ""},
		"fail at once":   {see(job(failOn(batchv1.PodFailurePolicyActionFailJob, 3)), pod(bad, exited(3, 0))), "PodFailurePolicy"},
		"other code":     {see(job(failOn(batchv1.PodFailurePolicyActionFailJob, 3)), pod(bad, exited(4, 0))), ""},
		"restarts": {see(job(limit(2), func(j *batchv1.Job) { j.Spec.Template.Spec.RestartPolicy = corev1.RestartPolicyOnFailure }),
			pod(run, func(p *corev1.Pod) { p.Status.ContainerStatuses = []corev1.ContainerStatus{{RestartCount: 2}} })), "BackoffLimitExceeded"},
		"deadline": {see(job(func(j *batchv1.Job) {
			start := metav1.NewTime(now.Add(-time.Minute))
			j.Spec.ActiveDeadlineSeconds, j.Status.StartTime = ptr.To(int64(60)), &start
		}), pod(run)), "DeadlineExceeded"},
		"some indexes failed": {see(job(perIndex(0)), pod(bad, at(0, 0)), pod(ok, at(1, 0)), pod(ok, at(2, 0)), pod(ok, at(3, 0))), "FailedIndexes"},
		"indexes left":        {see(job(perIndex(0)), pod(bad, at(0, 0)), pod(ok, at(1, 0)), pod(ok, at(2, 0)), pod(run, at(3, 0))), ""},
		"too many indexes":    {see(job(perIndex(0), func(j *batchv1.Job) { j.Spec.MaxFailedIndexes = ptr.To(int32(1)) }), pod(bad, at(0, 0)), pod(bad, at(1, 0))), "MaxFailedIndexesExceeded"},
		"an index may fail":   {see(job(perIndex(1)), pod(bad, at(0, 0))), ""},
		"success of some":     {see(job(indexedJob, success(batchv1.SuccessPolicyRule{SucceededIndexes: ptr.To("1-3"), SucceededCount: ptr.To(int32(1))})), pod(ok, at(2, 0)), pod(run, at(0, 0))), "SuccessPolicy"},
		"success of others":   {see(job(indexedJob, success(batchv1.SuccessPolicyRule{SucceededIndexes: ptr.To("1-3"), SucceededCount: ptr.To(int32(1))})), pod(ok, at(0, 0))), ""},
		"decided before, wrong": {see(job(func(j *batchv1.Job) {
			setCondition(j, batchv1.JobFailureTarget, corev1.ConditionTrue, "Before", "m", now)
		}), pod(ok), pod(ok), pod(ok), pod(ok)), "Before"},
	} {
		got := ""
		if v := c.s.verdict(); v != nil {
			got = v.reason
		}
		require.Equal(t, c.want, got, name)
	}
	s := see(job(failOn(batchv1.PodFailurePolicyActionFailJob, 3)), pod(bad, exited(3, 0), func(p *corev1.Pod) { p.Name = "x" }))
	require.Equal(t, "Container c for pod ns/x failed with exit code 3 matching FailJob rule at index 0", s.verdict().message)
}

func TestCounting(t *testing.T) {
	counted, waiting, gone := pod(corev1.PodSucceeded), pod(corev1.PodFailed), types.UID("gone")
	counted.Finalizers = nil
	j := job(func(j *batchv1.Job) {
		j.Status = batchv1.JobStatus{Succeeded: 1, Failed: 1, UncountedTerminatedPods: &batchv1.UncountedTerminatedPods{
			Succeeded: []types.UID{gone}, Failed: []types.UID{waiting.UID}}}
	})
	s := see(j, counted, waiting, pod(corev1.PodSucceeded), pod(corev1.PodRunning, doomed))
	require.Equal(t, int32(3), s.succeeded, "one counted, one uncounted, one new")
	require.Equal(t, int32(3), s.failed, "one counted, one uncounted, one being deleted")
	require.True(t, s.done[gone])
	require.True(t, s.awaited[waiting.UID])

	p := &pass{survey: s, next: j.DeepCopy()}
	p.settle(s.done)
	release, rest := p.note()
	require.False(t, rest)
	require.Len(t, release, 3)
	require.Equal(t, int32(2), p.next.Status.Succeeded)
	require.Len(t, p.next.Status.UncountedTerminatedPods.Succeeded, 1)
	require.Len(t, p.next.Status.UncountedTerminatedPods.Failed, 2)
	done := map[types.UID]bool{}
	for _, x := range release {
		done[x.UID] = true
	}
	p.settle(done)
	require.Equal(t, batchv1.JobStatus{Succeeded: 3, Failed: 3, UncountedTerminatedPods: &batchv1.UncountedTerminatedPods{Succeeded: []types.UID{}, Failed: []types.UID{}}}, p.next.Status)
}

// TestFailuresOfAnIndex: the pod that knows the count stays until another has it.
func TestFailuresOfAnIndex(t *testing.T) {
	old := pod(corev1.PodFailed, at(0, 1), exited(1, time.Hour))
	s := see(job(perIndex(3)), old)
	p := &pass{survey: s, next: s.job.DeepCopy()}
	p.next.Status.UncountedTerminatedPods = &batchv1.UncountedTerminatedPods{}
	release, _ := p.note()
	require.Empty(t, release)
	next := s.pod(0)
	require.Equal(t, "2", next.Annotations[failureCountAnnotation])
	require.Equal(t, "j-0-", next.GenerateName)
	require.Equal(t, "j-0", next.Spec.Hostname)
	require.Equal(t, "0", next.Labels[batchv1.JobCompletionIndexAnnotation])
	require.Equal(t, indexEnv, next.Spec.Containers[0].Env[0].Name)

	s = see(job(perIndex(3)), old, pod(corev1.PodRunning, at(0, 2)))
	p = &pass{survey: s, next: p.next}
	release, _ = p.note()
	require.Equal(t, []*corev1.Pod{old}, release)
}

func TestIndexes(t *testing.T) {
	for text, want := range map[string]string{"": "", "1,3-5,7": "1,3-5,7", "0,1": "0,1", "0,1,2": "0-2", "5,1-3,4": "1-5", "8-20": "8,9"} {
		x, err := parseIndexes(text, 10)
		require.NoError(t, err)
		require.Equal(t, want, x.String(), text)
	}
	_, err := parseIndexes("1-x", 10)
	require.Error(t, err)
	x := indexesOf([]int{7, 1, 3, 2})
	require.Equal(t, 4, x.count())
	require.True(t, x.has(2) && x.has(7) && !x.has(0) && !x.has(5) && !x.has(8))
	require.Equal(t, "1-4,7", x.with([]int{4}).String())
	require.Equal(t, "1-3,7", x.String(), "sets do not change")
	require.Equal(t, 2, x.common(indexesOf([]int{0, 3, 7, 9})))
}

func TestDelay(t *testing.T) {
	for n, want := range map[int]time.Duration{0: 0, 1: 10 * time.Second, 2: 20 * time.Second, 7: 10 * time.Minute, 6: 320 * time.Second, 40: 10 * time.Minute} {
		require.Equal(t, want, delay(n, now, now), n)
	}
	require.Zero(t, delay(1, now.Add(-time.Minute), now))
	f := failures{count: 3}
	f = f.after([]*corev1.Pod{pod(corev1.PodSucceeded, exited(0, time.Minute))}, []*corev1.Pod{
		pod(corev1.PodFailed, exited(1, time.Hour)), pod(corev1.PodFailed, exited(1, time.Second))}, now)
	require.Equal(t, failures{1, now.Add(-time.Second)}, f, "a success forgives what came before")
}
