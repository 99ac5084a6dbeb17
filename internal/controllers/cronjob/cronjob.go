// Package cronjob starts a Job whenever the schedule of a CronJob (batch/v1) says so.
//
// Watches: CronJobs, Jobs. Writes: Jobs (create, delete), CronJob status, events "SuccessfulCreate", "SuccessfulDelete",
// "SawCompletedJob", "MissingJob", "UnexpectedJob", "JobAlreadyActive", "MissSchedule", "TooManyMissedTimes", "UnknownTimeZone",
// "UnparseableSchedule", "FailedCreate", "FailedDelete".
//
// A reconcile brings the list of running jobs up to date (tidy.go), deletes ended jobs beyond the limits of the history, and starts
// the job of the last time that was due and has not been started (start.go); when the next is due is decided by pure functions
// (schedule.go) and waited for in the queue. A job's name is made of the time for which it is started, so that no time is
// started twice, whatever was lost in between.
package cronjob

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record"

	"hyperkube/internal/client"
	"hyperkube/internal/controllers"
	"hyperkube/internal/controllers/ownwrites"
	"hyperkube/internal/controllers/podset"
	"hyperkube/internal/object"
)

// Name is upstream's name of the controller.
const Name = "cronjob-controller"

var kind = batchv1.SchemeGroupVersion.WithKind("CronJob")

type controller struct {
	workers  int
	client   client.Interface
	events   record.EventRecorder
	cronJobs *client.Informer[*batchv1.CronJob]
	jobs     *client.Informer[*batchv1.Job]
	queue    *client.Queue[object.Key]
	written  ownwrites.Set[*batchv1.CronJob]
	now      func() time.Time
	skew     prometheus.Histogram
}

// New registers the controller. workers is how many CronJobs are worked on at a time.
func New(d controllers.Deps, workers int) controllers.Controller {
	c := &controller{
		workers:  workers,
		client:   d.Client("cronjob-controller"),
		events:   d.Recorder("cronjob-controller"),
		cronJobs: client.InformerFor(d.Informers, client.CronJobs),
		jobs:     client.InformerFor(d.Informers, client.Jobs),
		queue:    client.NewQueue[object.Key](Name),
		now:      time.Now,
		skew: d.Histogram("cronjob_controller_job_creation_skew_duration_seconds", "Time between when a cronjob is scheduled to be run, and when the corresponding job is created",
			prometheus.ExponentialBuckets(1, 2, 10)),
	}
	podset.IndexByController(c.jobs)
	c.cronJobs.OnChange(func(old, new *batchv1.CronJob) {
		if new == nil {
			new = old
		}
		c.queue.Add(object.KeyOf(new))
	})
	c.jobs.OnChange(c.jobChanged)
	return c
}

func (c *controller) Name() string { return Name }

func (c *controller) Run(ctx context.Context) error {
	client.RunWorkers(ctx, c.queue, c.workers, c.reconcile)
	return nil
}

func (c *controller) jobChanged(old, new *batchv1.Job) {
	if old != nil && new != nil && old.UID == new.UID && (finished(old) == nil) == (finished(new) == nil) && apiequality.Semantic.DeepEqual(old.OwnerReferences, new.OwnerReferences) {
		return
	}
	for _, j := range []*batchv1.Job{old, new} {
		if j == nil {
			continue
		}
		if ref := metav1.GetControllerOfNoCopy(j); ref != nil && ref.Kind == kind.Kind {
			c.queue.Add(object.Key{Namespace: j.Namespace, Name: ref.Name})
		}
	}
}

func (c *controller) reconcile(ctx context.Context, key object.Key) error {
	cached, ok := c.cronJobs.Get(key.Namespace, key.Name)
	if !ok {
		c.written.Forget(key)
		return nil
	}
	cached = c.written.Newest(cached)
	p := &pass{c: c, key: key, cron: cached.DeepCopy(), jobs: podset.Controlled(c.jobs, cached.UID), now: c.now()}
	err := p.tidy(ctx)
	if err == nil && cached.DeletionTimestamp == nil {
		err = p.schedule(ctx)
	}
	// What was found and done is told, even where something failed.
	if written := c.write(ctx, cached, p.cron); err == nil {
		err = written
	}
	return err
}

// pass is one reconcile of a CronJob.
type pass struct {
	c    *controller
	key  object.Key
	cron *batchv1.CronJob // a copy, whose status is brought up to date
	jobs []*batchv1.Job   // that it controls
	now  time.Time
}

func (p *pass) warn(reason, format string, args ...any) {
	p.c.events.Eventf(p.cron, corev1.EventTypeWarning, reason, format, args...)
}

func (p *pass) tell(reason, format string, args ...any) {
	p.c.events.Eventf(p.cron, corev1.EventTypeNormal, reason, format, args...)
}

func (c *controller) write(ctx context.Context, old, next *batchv1.CronJob) error {
	if apiequality.Semantic.DeepEqual(old.Status, next.Status) {
		return nil
	}
	got, err := client.CronJobs.UpdateStatus(ctx, c.client, next)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	c.written.Wrote(got)
	return nil
}

// finished is the condition with which a job has ended; nil while it has not.
func finished(j *batchv1.Job) *batchv1.JobCondition {
	for i := range j.Status.Conditions {
		c := &j.Status.Conditions[i]
		if (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) && c.Status == corev1.ConditionTrue {
			return c
		}
	}
	return nil
}
