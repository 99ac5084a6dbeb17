package cronjob

import (
	"cmp"
	"context"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"hyperkube/internal/client"
)

// tidy brings the list of running jobs up to date and forgets old ones.
func (p *pass) tidy(ctx context.Context) error {
	known := map[types.UID]bool{}
	for _, j := range p.jobs {
		known[j.UID] = true
		p.follow(j)
	}
	st := &p.cron.Status
	for _, ref := range slices.Clone(st.Active) {
		if known[ref.UID] {
			continue
		}
		// The cache may not have it yet.
		j, err := client.Jobs.Get(ctx, p.c.client, p.cron.Namespace, ref.Name)
		switch {
		case apierrors.IsNotFound(err) || (err == nil && j.UID != ref.UID):
			p.tell("MissingJob", "Active job went missing: %v", ref.Name)
			p.inactive(ref.UID)
		case err != nil:
			return err
		default:
			p.jobs = append(p.jobs, j)
			p.follow(j)
		}
	}
	return p.trim(ctx)
}

// follow compares one job with what the status says of it.
func (p *pass) follow(j *batchv1.Job) {
	st := &p.cron.Status
	end, active := finished(j), p.active(j.UID)
	switch {
	case end == nil && !active:
		// Made by hand from the CronJob's template, or lost by a write that failed.
		p.warn("UnexpectedJob", "Saw a job that the controller did not create or forgot: %s", j.Name)
	case end != nil && active:
		p.inactive(j.UID)
		p.tell("SawCompletedJob", "Saw completed job: %s, condition: %v", j.Name, end.Type)
	}
	if t := j.Status.CompletionTime; end != nil && end.Type == batchv1.JobComplete && t != nil && (st.LastSuccessfulTime == nil || t.After(st.LastSuccessfulTime.Time)) {
		st.LastSuccessfulTime = t.DeepCopy()
	}
}

func (p *pass) active(uid types.UID) bool {
	return slices.ContainsFunc(p.cron.Status.Active, func(r corev1.ObjectReference) bool { return r.UID == uid })
}

func (p *pass) inactive(uid types.UID) {
	p.cron.Status.Active = slices.DeleteFunc(p.cron.Status.Active, func(r corev1.ObjectReference) bool { return r.UID == uid })
}

// trim deletes the oldest ended jobs beyond the limits of the history.
func (p *pass) trim(ctx context.Context) error {
	for _, j := range surplus(p.jobs, p.cron.Spec.SuccessfulJobsHistoryLimit, p.cron.Spec.FailedJobsHistoryLimit) {
		if err := p.remove(ctx, j); err != nil {
			return err
		}
	}
	return nil
}

// surplus gives the ended jobs that the limits do not allow, the oldest first. A limit that is not set lets all stay.
func surplus(jobs []*batchv1.Job, succeeded, failed *int32) (out []*batchv1.Job) {
	var good, bad []*batchv1.Job
	for _, j := range jobs {
		switch end := finished(j); {
		case end == nil || j.DeletionTimestamp != nil:
		case end.Type == batchv1.JobComplete:
			good = append(good, j)
		default:
			bad = append(bad, j)
		}
	}
	for _, l := range []struct {
		jobs  []*batchv1.Job
		limit *int32
	}{{good, succeeded}, {bad, failed}} {
		if l.limit == nil || len(l.jobs) <= int(*l.limit) {
			continue
		}
		slices.SortFunc(l.jobs, older)
		out = append(out, l.jobs[:len(l.jobs)-int(*l.limit)]...)
	}
	return out
}

func older(a, b *batchv1.Job) int {
	return cmp.Or(started(a).Compare(started(b).Time), cmp.Compare(a.Name, b.Name))
}

func started(j *batchv1.Job) metav1.Time {
	if j.Status.StartTime != nil {
		return *j.Status.StartTime
	}
	return j.CreationTimestamp
}

// remove deletes a job and its pods.
func (p *pass) remove(ctx context.Context, j *batchv1.Job) error {
	background := metav1.DeletePropagationBackground
	err := p.c.client.Delete(ctx, client.Jobs.GVR, j.Namespace, j.Name, metav1.DeleteOptions{
		PropagationPolicy: &background, Preconditions: metav1.NewUIDPreconditions(string(j.UID)),
	})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		p.warn("FailedDelete", "Deleted job: %v", err)
		return err
	}
	p.inactive(j.UID)
	if err == nil {
		p.tell("SuccessfulDelete", "Deleted job %v", j.Name)
	}
	return nil
}
