package job

import (
	"context"
	"encoding/json"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"hyperkube/internal/client"
	"hyperkube/internal/controllers/podset"
	"hyperkube/internal/object"
)

// maxUncounted bounds how many pods wait in one status for their finalizer to go.
const maxUncounted = 500

// track writes the status and counts pods that have ended: into the list of uncounted ones, off with the finalizer, into the counters.
func (p *pass) track(ctx context.Context) error {
	p.settle(p.done)
	release, rest := p.note()
	p.conclude(len(release) > 0 || rest)
	if err := p.write(ctx); err != nil {
		return err
	}
	p.c.mu.Lock()
	p.c.failures[p.key] = p.survey.failures
	p.c.mu.Unlock()
	if rest {
		p.c.queue.Add(p.key)
	}
	for _, pod := range release {
		if action, ok := p.actions[pod.UID]; ok {
			p.c.metrics.policy.WithLabelValues(string(action)).Inc()
		}
	}
	if len(release) == 0 {
		return nil
	}
	gone := make([]bool, len(release))
	_, failed := podset.Together(len(release), func(i int) error {
		err := p.c.release(ctx, release[i])
		gone[i] = err == nil
		return err
	})
	done := map[types.UID]bool{}
	for i, pod := range release {
		if gone[i] {
			done[pod.UID] = true
		}
	}
	p.settle(done)
	p.conclude(failed != nil || rest)
	if err := p.write(ctx); err != nil {
		return err
	}
	return failed
}

// note puts pods that have ended into the status. It gives those whose finalizer may go then, and whether others have to wait for
// the next time.
func (p *pass) note() (release []*corev1.Pod, rest bool) {
	st := &p.next.Status
	u := st.UncountedTerminatedPods
	room := maxUncounted - len(u.Succeeded) - len(u.Failed)
	isNew := map[types.UID]bool{}
	for _, pod := range p.newCounted {
		isNew[pod.UID] = true
	}
	for _, pod := range p.trackedPods {
		if !p.over(pod) || p.keeps(pod) {
			continue
		}
		if !p.awaited[pod.UID] {
			if room <= 0 {
				rest = true
				continue
			}
			room--
		}
		release = append(release, pod)
		switch {
		case isNew[pod.UID]:
			u.Failed = append(u.Failed, pod.UID)
		case !p.indexed && pod.Status.Phase == corev1.PodSucceeded && !p.awaited[pod.UID]:
			u.Succeeded = append(u.Succeeded, pod.UID)
		}
	}
	if p.indexed {
		st.CompletedIndexes = p.completed.String()
		st.Succeeded = int32(p.completed.count())
	}
	if p.perIndex {
		text := p.failedIdx.String()
		st.FailedIndexes = &text
	}
	return release, rest
}

// over says whether a pod needs the finalizer no more once it is in the status: it has ended, or has no index that anybody asks for.
func (p *pass) over(pod *corev1.Pod) bool {
	if podset.IsTerminal(pod) || p.hasFailed(pod) {
		return true
	}
	i := indexOf(pod)
	return p.indexed && pod.DeletionTimestamp != nil && (i < 0 || i >= p.completions)
}

// keeps: the pod that knows how often its index has failed stays until another has taken that over.
func (p *pass) keeps(pod *corev1.Pod) bool {
	if p.verdict != nil || p.job.DeletionTimestamp != nil || !p.perIndex {
		return false
	}
	d := p.delayed[indexOf(pod)]
	return d != nil && d.UID == pod.UID
}

// settle moves pods that have no finalizer any more into the counters.
func (p *pass) settle(done map[types.UID]bool) {
	u := p.next.Status.UncountedTerminatedPods
	move := func(list []types.UID) (left []types.UID, n int32) {
		left = slices.DeleteFunc(slices.Clone(list), func(uid types.UID) bool { return done[uid] })
		return left, int32(len(list) - len(left))
	}
	var succeeded, failed int32
	u.Succeeded, succeeded = move(u.Succeeded)
	u.Failed, failed = move(u.Failed)
	if !p.indexed {
		p.next.Status.Succeeded += succeeded
	}
	p.next.Status.Failed += failed
}

// conclude ends a job that is over, once no pod of it is left and all are counted.
func (p *pass) conclude(waiting bool) {
	u := p.next.Status.UncountedTerminatedPods
	if p.verdict == nil || waiting || !p.met || len(p.active)+len(p.terminating) > 0 || len(u.Succeeded)+len(u.Failed) > 0 || finished(p.next) != nil {
		return
	}
	setCondition(p.next, p.verdict.final(), corev1.ConditionTrue, p.verdict.reason, p.verdict.message, p.now)
	if p.verdict.failed() {
		p.tell(corev1.EventTypeWarning, p.verdict.reason, p.verdict.message)
		return
	}
	now := metav1.NewTime(p.now)
	p.next.Status.CompletionTime = &now
	p.tell(corev1.EventTypeNormal, "Completed", "Job completed")
}

// release takes the finalizer off a pod. The pod counts as released before the cache shows it.
func (c *controller) release(ctx context.Context, pod *corev1.Pod) error {
	c.mark(pod.UID, true)
	err := c.removeFinalizer(ctx, pod)
	if err != nil {
		c.mark(pod.UID, false)
	}
	return err
}

func (c *controller) mark(uid types.UID, released bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if released {
		c.released[uid] = true
	} else {
		delete(c.released, uid)
	}
}

func (c *controller) removeFinalizer(ctx context.Context, pod *corev1.Pod) error {
	data, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid": pod.UID, "$deleteFromPrimitiveList/finalizers": []string{batchv1.JobTrackingFinalizer},
	}})
	if err != nil {
		return err
	}
	_, err = c.client.Patch(ctx, client.Pods.GVR, pod.Namespace, pod.Name, types.StrategicMergePatchType, data, metav1.PatchOptions{})
	// Not found: it is gone. Conflict with the uid: another has its name.
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) || apierrors.IsInvalid(err) {
		return nil
	}
	return err
}

// stray has a look at a pod with the finalizer, if nobody seems to count it.
func (c *controller) stray(pod *corev1.Pod) {
	if !tracked(pod) {
		return
	}
	if ref := metav1.GetControllerOfNoCopy(pod); ref != nil && ref.Kind == kind.Kind {
		if j, ok := c.jobs.Get(pod.Namespace, ref.Name); ok && j.UID == ref.UID && finished(j) == nil {
			return
		}
	} else if ref == nil && c.wanted(pod) {
		return
	}
	c.strays.Add(object.KeyOf(pod))
}

// wanted says whether a job will take in a pod that has no controller.
func (c *controller) wanted(pod *corev1.Pod) bool {
	return slices.ContainsFunc(c.jobs.InNamespace(pod.Namespace), func(j *batchv1.Job) bool {
		return finished(j) == nil && j.DeletionTimestamp == nil && ours(j) && selects(j, pod)
	})
}

// releaseStray takes the finalizer off a pod that belongs to no job that runs. Whether that is so is asked of the server: a cache may
// not have the job yet.
func (c *controller) releaseStray(ctx context.Context, key object.Key) error {
	pod, ok := c.pods.Get(key.Namespace, key.Name)
	if !ok || !tracked(pod) {
		return nil
	}
	ref := metav1.GetControllerOfNoCopy(pod)
	switch {
	case ref == nil:
		if c.wanted(pod) {
			return nil
		}
	case ref.Kind == kind.Kind:
		j, err := client.Jobs.Get(ctx, c.client, key.Namespace, ref.Name)
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
		if err == nil && j.UID == ref.UID && finished(j) == nil {
			return nil
		}
	}
	return c.removeFinalizer(ctx, pod)
}
