package job

import (
	"context"
	"errors"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/client"
	"hyperkube/internal/object"
)

// pass is one reconcile of a job.
type pass struct {
	*survey
	c   *controller
	key object.Key
	met bool // the cache has the echo of all that was created and deleted

	verdict          *verdict
	next             *batchv1.Job // with the status to write
	events           []event      // to tell once it is written
	created, removed int
}

type event struct{ kind, reason, message string }

func (p *pass) run(ctx context.Context) error {
	p.verdict = p.survey.verdict()
	p.next = p.job.DeepCopy()
	p.begin()
	var failed error
	if p.met {
		failed = p.act(ctx, p.plan(p.verdict))
		p.suspension()
	}
	if left, ok := p.untilDeadline(); ok && left > 0 {
		p.c.queue.AddAfter(p.key, left)
	}
	p.describe()
	err := p.track(ctx)
	// A conflict means that a newer version is on its way here, and the key with it.
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		err = nil
	}
	return errors.Join(failed, err)
}

// begin starts the clock of a job that may run.
func (p *pass) begin() {
	st := &p.next.Status
	if st.UncountedTerminatedPods == nil {
		st.UncountedTerminatedPods = &batchv1.UncountedTerminatedPods{}
	}
	if st.StartTime != nil || p.suspended() {
		return
	}
	now := metav1.NewTime(p.now)
	st.StartTime = &now
	if d := p.job.Spec.ActiveDeadlineSeconds; d != nil {
		p.c.queue.AddAfter(p.key, time.Duration(*d)*time.Second)
	}
}

// suspension says in the status whether the job is suspended. A job that is resumed begins anew.
func (p *pass) suspension() {
	if p.verdict != nil || p.job.DeletionTimestamp != nil {
		return
	}
	if p.suspended() {
		p.next.Status.StartTime = nil
		if setCondition(p.next, batchv1.JobSuspended, corev1.ConditionTrue, "JobSuspended", "Job suspended", p.now) {
			p.tell(corev1.EventTypeNormal, "Suspended", "Job suspended")
		}
		return
	}
	if condition(p.next, batchv1.JobSuspended) == nil {
		return
	}
	if setCondition(p.next, batchv1.JobSuspended, corev1.ConditionFalse, "JobResumed", "Job resumed", p.now) {
		now := metav1.NewTime(p.now)
		p.next.Status.StartTime = &now
		p.tell(corev1.EventTypeNormal, "Resumed", "Job resumed")
	}
}

// describe puts what is there into the status.
func (p *pass) describe() {
	st := &p.next.Status
	ready, terminating := p.ready, int32(len(p.terminating))
	st.Active = int32(len(p.active) + p.created - p.removed)
	st.Ready, st.Terminating = &ready, &terminating
	if p.removed > 0 { // which of the ready ones are gone is not known before the next look
		ready = min(ready, st.Active)
	}
	if p.verdict != nil {
		setCondition(p.next, p.verdict.kind, corev1.ConditionTrue, p.verdict.reason, p.verdict.message, p.now)
	}
}

func (p *pass) tell(kind, reason, message string) {
	p.events = append(p.events, event{kind, reason, message})
}

// write writes the status if it differs from what the job has, and goes on from the answer.
func (p *pass) write(ctx context.Context) error {
	if apiequality.Semantic.DeepEqual(p.job.Status, p.next.Status) {
		return nil
	}
	got, err := client.Jobs.UpdateStatus(ctx, p.c.client, p.next)
	if err != nil {
		return err
	}
	p.c.written.Wrote(got)
	p.c.metrics.wrote(p.job, got)
	for _, e := range p.events {
		p.c.events.Event(got, e.kind, e.reason, e.message)
	}
	p.events = nil
	p.job, p.next = got, got.DeepCopy()
	return nil
}

func (p *pass) act(ctx context.Context, do plan) error {
	if do.again > 0 {
		p.c.queue.AddAfter(p.key, do.again)
	}
	if len(do.remove) > 0 {
		return p.remove(ctx, do)
	}
	if n := do.create + len(do.index); n > 0 {
		return p.create(ctx, n, do.index)
	}
	return nil
}

func (p *pass) create(ctx context.Context, n int, indexes []int) error {
	done, err := p.c.expect.Creating(p.key, n, func(i int) error {
		index := -1
		if len(indexes) > 0 {
			index = indexes[i]
		}
		return p.c.writer.Create(ctx, p.job, p.pod(index))
	})
	p.created = done
	p.c.metrics.create(p.survey, n, done)
	return err
}

// remove deletes pods. Those that must not count as failed lose their finalizer first.
func (p *pass) remove(ctx context.Context, do plan) error {
	done, err := p.c.expect.Deleting(p.key, do.remove, func(pod *corev1.Pod) error {
		if !do.count && p.tracked(pod) {
			if err := p.c.release(ctx, pod); err != nil {
				return err
			}
		}
		return p.c.writer.Delete(ctx, p.job, pod)
	})
	p.removed = done
	return err
}
