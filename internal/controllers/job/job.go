// Package job runs pods until enough of them have succeeded (batch/v1 Job).
//
// Watches: Jobs, Pods. Writes: Pods (create, delete, adopt, release, the finalizer batch.kubernetes.io/job-tracking), Job status,
// events as the ReplicaSet's and "Completed", "Suspended", "Resumed" and the reasons of the condition Failed.
//
// Every pod is counted exactly once, however it disappears (KEP-2307): pods are made with a finalizer; one that has ended goes first
// into the status (uncountedTerminatedPods, or completedIndexes), then it loses the finalizer, and then it moves into the counters.
// track.go does this. What to do is decided by pure functions over one look at the job and its pods: survey.go (what is there),
// indexes.go (sets of indexes), policy.go (rules for failures and for success), finish.go (is it over), scale.go (which pods
// to create and delete), delay.go (how long after a failure).
//
// A reconcile works with the newest status that this controller has written, even where the cache does not show it yet, and does not
// create or delete pods while the cache lacks the echo of its own writes.
package job

import (
	"context"
	"log/slog"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"

	"hyperkube/internal/client"
	"hyperkube/internal/controllers"
	"hyperkube/internal/controllers/ownwrites"
	"hyperkube/internal/controllers/podset"
	"hyperkube/internal/object"
)

// Name is upstream's name of the controller.
const Name = "job-controller"

var kind = batchv1.SchemeGroupVersion.WithKind("Job")

type controller struct {
	workers int
	client  client.Interface
	events  record.EventRecorder
	writer  podset.Writer
	jobs    *client.Informer[*batchv1.Job]
	pods    *client.Informer[*corev1.Pod]
	queue   *client.Queue[object.Key]
	strays  *client.Queue[object.Key] // pods whose finalizer may belong to nobody
	expect  *podset.Expectations[object.Key]
	written ownwrites.Set[*batchv1.Job]
	metrics metrics
	log     *slog.Logger

	mu       sync.Mutex
	released map[types.UID]bool // pods whose finalizer was taken off, until the cache shows it
	failures map[object.Key]failures
}

// New registers the controller. workers is how many Jobs are worked on at a time.
func New(d controllers.Deps, workers int) controllers.Controller {
	c := &controller{
		workers:  workers,
		client:   d.Client("job-controller"),
		events:   d.Recorder("job-controller"),
		jobs:     client.InformerFor(d.Informers, client.Jobs),
		pods:     client.InformerFor(d.Informers, client.Pods),
		queue:    client.NewQueue[object.Key](Name),
		strays:   client.NewQueue[object.Key](Name + " finalizers"),
		expect:   podset.NewExpectations[object.Key](),
		metrics:  newMetrics(d),
		log:      controllers.Logger(Name),
		released: map[types.UID]bool{},
		failures: map[object.Key]failures{},
	}
	c.writer = podset.Writer{Client: c.client, Recorder: c.events, Kind: kind}
	podset.IndexByController(c.pods)
	c.jobs.OnChange(c.jobChanged)
	podset.Watcher{
		Kind: kind.Kind, Enqueue: c.enqueueRef, Orphan: c.orphan,
		Created: func(ns string, ref *metav1.OwnerReference) {
			c.expect.Created(object.Key{Namespace: ns, Name: ref.Name})
		},
		Deleted: func(ns string, ref *metav1.OwnerReference, uid types.UID) {
			c.expect.Deleted(object.Key{Namespace: ns, Name: ref.Name}, uid)
		},
	}.Watch(c.pods)
	c.pods.OnChange(c.podChanged)
	return c
}

func (c *controller) Name() string { return Name }

func (c *controller) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { client.RunWorkers(ctx, c.strays, 2, c.releaseStray) })
	client.RunWorkers(ctx, c.queue, c.workers, c.reconcile)
	wg.Wait()
	return nil
}

func (c *controller) jobChanged(old, new *batchv1.Job) {
	if old != nil && (new == nil || old.UID != new.UID) {
		c.forget(object.KeyOf(old))
		for _, p := range podset.Controlled(c.pods, old.UID) {
			c.stray(p)
		}
	}
	if new == nil {
		return
	}
	if old == nil && !ours(new) {
		c.metrics.external.WithLabelValues(*new.Spec.ManagedBy).Inc()
	}
	if finished(new) != nil && (old == nil || finished(old) == nil) {
		for _, p := range podset.Controlled(c.pods, new.UID) {
			c.stray(p)
		}
	}
	c.queue.Add(object.KeyOf(new))
}

func (c *controller) forget(key object.Key) {
	c.expect.Forget(key)
	c.written.Forget(key)
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.failures, key)
}

func (c *controller) enqueueRef(ns string, ref *metav1.OwnerReference) {
	if j, ok := c.jobs.Get(ns, ref.Name); ok && j.UID == ref.UID {
		c.queue.Add(object.Key{Namespace: ns, Name: ref.Name})
	}
}

// orphan wakes the jobs that select a pod without a controller.
func (c *controller) orphan(pod *corev1.Pod) {
	for _, j := range c.jobs.InNamespace(pod.Namespace) {
		if selects(j, pod) {
			c.queue.Add(object.KeyOf(j))
		}
	}
}

func selects(j *batchv1.Job, pod *corev1.Pod) bool {
	s, err := metav1.LabelSelectorAsSelector(j.Spec.Selector)
	return err == nil && !s.Empty() && s.Matches(labels.Set(pod.Labels))
}

// podChanged hears what podset.Watcher does not tell: finalizers and restarts of containers.
func (c *controller) podChanged(old, new *corev1.Pod) {
	c.metrics.follow(old, new)
	if old != nil && (new == nil || new.UID != old.UID || !tracked(new)) {
		c.mu.Lock()
		delete(c.released, old.UID)
		c.mu.Unlock()
	}
	if new == nil {
		return
	}
	c.stray(new)
	if old == nil || (tracked(old) == tracked(new) && restarts(old) == restarts(new)) {
		return
	}
	if ref := metav1.GetControllerOfNoCopy(new); ref != nil && ref.Kind == kind.Kind {
		c.enqueueRef(new.Namespace, ref)
	}
}

// ours says whether this controller is the one that manages the job (KEP-4368).
func ours(j *batchv1.Job) bool {
	return j.Spec.ManagedBy == nil || *j.Spec.ManagedBy == batchv1.JobControllerName
}

func (c *controller) reconcile(ctx context.Context, key object.Key) error {
	j, ok := c.jobs.Get(key.Namespace, key.Name)
	if !ok {
		c.forget(key)
		return nil
	}
	j = c.written.Newest(j)
	if !ours(j) || finished(j) != nil {
		c.expect.Forget(key)
		return nil
	}
	selector, err := metav1.LabelSelectorAsSelector(j.Spec.Selector)
	if err != nil {
		c.log.Warn("invalid selector, left alone", "key", key.String(), "error", err)
		return nil
	}
	// Whether echoes are missing is asked before the cache is read: one that comes in between is then in what is read.
	met, left := c.expect.Met(key, time.Now())
	pods, err := c.claim(ctx, j, selector)
	if err != nil {
		return err
	}
	if !met {
		c.queue.AddAfter(key, left)
	}
	p := &pass{c: c, key: key, survey: look(j, pods, c.isReleased, c.failuresOf(key), time.Now()), met: met}
	return p.run(ctx)
}

func (c *controller) isReleased(uid types.UID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.released[uid]
}

func (c *controller) failuresOf(key object.Key) failures {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failures[key]
}

func (c *controller) claim(ctx context.Context, j *batchv1.Job, selector labels.Selector) ([]*corev1.Pod, error) {
	cl := podset.Claim[*corev1.Pod]{
		Client: c.client, Resource: client.Pods, Owner: j, Kind: kind, Selector: selector, Finalizer: batchv1.JobTrackingFinalizer,
		Fresh: func(ctx context.Context) (metav1.Object, error) {
			return client.Jobs.Get(ctx, c.client, j.Namespace, j.Name)
		},
	}
	return cl.Of(ctx, podset.Controlled(c.pods, j.UID), podset.Orphans(c.pods, j.Namespace))
}
