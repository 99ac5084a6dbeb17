// Package ttlafterfinished deletes Jobs (batch/v1) whose time after their end is over (spec.ttlSecondsAfterFinished, KEP-592).
//
// Watches: Jobs. Writes: deletes Jobs, with their pods. Each job is put into the queue for the moment when it is due, and the server
// is asked before it is deleted: a time that was prolonged meanwhile counts.
package ttlafterfinished

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/client"
	"hyperkube/internal/controllers"
	"hyperkube/internal/object"
)

// Name is upstream's name of the controller.
const Name = "ttl-after-finished-controller"

type controller struct {
	workers int
	client  client.Interface
	jobs    *client.Informer[*batchv1.Job]
	queue   *client.Queue[object.Key]
	late    prometheus.Histogram
}

// New registers the controller. workers is how many Jobs are worked on at a time.
func New(d controllers.Deps, workers int) controllers.Controller {
	c := &controller{
		workers: workers,
		client:  d.Client("ttl-after-finished-controller"),
		jobs:    client.InformerFor(d.Informers, client.Jobs),
		queue:   client.NewQueue[object.Key](Name),
		late: d.Histogram("ttl_after_finished_controller_job_deletion_duration_seconds", "The time it took to delete the job since it became eligible for deletion",
			prometheus.ExponentialBuckets(0.1, 2, 14)),
	}
	c.jobs.OnChange(func(_, new *batchv1.Job) {
		if new == nil {
			return
		}
		if _, ok := due(new); ok {
			c.queue.Add(object.KeyOf(new))
		}
	})
	return c
}

func (c *controller) Name() string { return Name }

func (c *controller) Run(ctx context.Context) error {
	client.RunWorkers(ctx, c.queue, c.workers, c.reconcile)
	return nil
}

func (c *controller) reconcile(ctx context.Context, key object.Key) error {
	cached, ok := c.jobs.Get(key.Namespace, key.Name)
	if !ok || c.waits(key, cached) {
		return nil
	}
	job, err := client.Jobs.Get(ctx, c.client, key.Namespace, key.Name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil || c.waits(key, job) {
		return err
	}
	foreground := metav1.DeletePropagationForeground
	err = c.client.Delete(ctx, client.Jobs.GVR, key.Namespace, key.Name, metav1.DeleteOptions{
		Preconditions:     &metav1.Preconditions{UID: &job.UID, ResourceVersion: &job.ResourceVersion},
		PropagationPolicy: &foreground,
	})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if at, ok := due(job); ok && err == nil {
		c.late.Observe(time.Since(at).Seconds())
	}
	return err
}

// waits says whether the job is to be left alone now, and has it looked at again when it will be due.
func (c *controller) waits(key object.Key, j *batchv1.Job) bool {
	at, ok := due(j)
	if !ok {
		return true
	}
	left := time.Until(at)
	if left > 0 {
		c.queue.AddAfter(key, left)
	}
	return left > 0
}

// due is when a job may be deleted; ok is false for one that has not ended, has no such time, or is being deleted already.
func due(j *batchv1.Job) (at time.Time, ok bool) {
	if j.Spec.TTLSecondsAfterFinished == nil || j.DeletionTimestamp != nil {
		return time.Time{}, false
	}
	for _, c := range j.Status.Conditions {
		if (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) && c.Status == corev1.ConditionTrue {
			return c.LastTransitionTime.Add(time.Duration(*j.Spec.TTLSecondsAfterFinished) * time.Second), true
		}
	}
	return time.Time{}, false
}
