package cronjob

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/client"
	"hyperkube/internal/object/cron"
)

// schedule starts what is due, and has the CronJob looked at again when the next time has come.
func (p *pass) schedule(ctx context.Context) error {
	c := p.cron
	if c.Spec.Suspend != nil && *c.Spec.Suspend {
		return nil
	}
	now, err := zone(c, p.now)
	if err != nil {
		p.warn("UnknownTimeZone", "invalid timeZone: %q: %s", *c.Spec.TimeZone, err)
		return nil
	}
	s, err := cron.Parse(c.Spec.Schedule)
	if err != nil {
		p.warn("UnparseableSchedule", "unparseable schedule: %q : %s", c.Spec.Schedule, err)
		return nil
	}
	d := at(c, s, now)
	if !d.next.IsZero() {
		p.c.queue.AddAfter(p.key, d.next.Sub(now))
	}
	if d.last.IsZero() {
		return nil
	}
	if d.missed > manyMissed {
		p.warn("TooManyMissedTimes", "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew")
	}
	return p.start(ctx, d.last)
}

func (p *pass) start(ctx context.Context, at time.Time) error {
	c := p.cron
	if d := c.Spec.StartingDeadlineSeconds; d != nil && at.Add(time.Duration(*d)*time.Second).Before(p.now) {
		p.warn("MissSchedule", "Missed scheduled time to start a job: %s", at.UTC().Format(time.RFC1123Z))
		return nil
	}
	if len(c.Status.Active) > 0 {
		switch c.Spec.ConcurrencyPolicy {
		case batchv1.ForbidConcurrent:
			// The time stays due: when the job that runs has ended, the latest missed one is started.
			p.tell("JobAlreadyActive", "Not starting job because prior execution is running and concurrency policy is Forbid")
			return nil
		case batchv1.ReplaceConcurrent:
			if err := p.replace(ctx, jobName(c, at)); err != nil {
				return err
			}
		}
	}
	job, err := p.create(ctx, at)
	if job == nil {
		return err
	}
	c.Status.Active = append(c.Status.Active, corev1.ObjectReference{
		APIVersion: batchv1.SchemeGroupVersion.String(), Kind: "Job", Namespace: job.Namespace, Name: job.Name, UID: job.UID, ResourceVersion: job.ResourceVersion,
	})
	t := metav1.NewTime(at)
	c.Status.LastScheduleTime = &t
	return nil
}

// replace ends the jobs that run, but not one that was started for this time already.
func (p *pass) replace(ctx context.Context, but string) error {
	var errs []error
	for _, ref := range slices.Clone(p.cron.Status.Active) {
		if ref.Name == but {
			continue
		}
		errs = append(errs, p.remove(ctx, &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: ref.Namespace, Name: ref.Name, UID: ref.UID}}))
	}
	return errors.Join(errs...)
}

// create makes the job of a time. It gives none, without an error, where there is nothing more to do for that time.
func (p *pass) create(ctx context.Context, at time.Time) (*batchv1.Job, error) {
	job, err := client.Jobs.Create(ctx, p.c.client, jobFor(p.cron, at))
	switch {
	case err == nil:
		p.c.skew.Observe(p.c.now().Sub(at).Seconds())
		p.tell("SuccessfulCreate", "Created job %v", job.Name)
		return job, nil
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return nil, nil
	case !apierrors.IsAlreadyExists(err):
		p.warn("FailedCreate", "Error creating job: %v", err)
		return nil, err
	}
	// Created before, and the status was not written; unless somebody else took the name.
	job, err = client.Jobs.Get(ctx, p.c.client, p.cron.Namespace, jobName(p.cron, at))
	if err != nil {
		return nil, err
	}
	if !metav1.IsControlledBy(job, p.cron) {
		err := fmt.Errorf("job %s/%s is not controlled by this cron job", job.Namespace, job.Name)
		p.warn("FailedCreate", "Error creating job: %v", err)
		return nil, err
	}
	if finished(job) != nil || p.active(job.UID) {
		t := metav1.NewTime(at)
		p.cron.Status.LastScheduleTime = &t
		return nil, nil
	}
	return job, nil
}

func jobName(c *batchv1.CronJob, at time.Time) string {
	return fmt.Sprintf("%s-%d", c.Name, at.Unix()/60)
}

func jobFor(c *batchv1.CronJob, at time.Time) *batchv1.Job {
	t := &c.Spec.JobTemplate
	annotations := maps.Clone(t.Annotations)
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[batchv1.CronJobScheduledTimestampAnnotation] = at.Format(time.RFC3339)
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: c.Namespace, Name: jobName(c, at), Labels: maps.Clone(t.Labels), Annotations: annotations,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(c, kind)},
		},
		Spec: *t.Spec.DeepCopy(),
	}
}
