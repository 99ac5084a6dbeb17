// Package replicas keeps a number of equal pods running: the engine of the ReplicaSet and the
// ReplicationController, which differ only in the Go types and in how they write their selector.
//
// It watches the owners and all pods; it writes pods (create, delete, adopt, release), the owners' status and events on
// the owners. Pods are found by the UID of their controller, so one reconcile costs as much as its own pods.
// After creating or deleting pods it does nothing more for that owner until the cache has shown it all of them
// (podset.Expectations), so that a cache behind its own writes never makes it do them twice.
package replicas

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"hyperkube/internal/client"
	"hyperkube/internal/controllers"
	"hyperkube/internal/controllers/podset"
	"hyperkube/internal/object"
)

// Kind says how owners of type T are read and written.
type Kind[T client.Object] struct {
	Controller string // upstream's name of the controller
	Identity   string // of the client that writes
	Component  string // in events
	Resource   client.Resource[T]
	GVK        schema.GroupVersionKind
	// Spec reads what is wanted.
	Spec func(T) (Spec, error)
	// Status reads the status; WithStatus gives a copy of the owner that has another one.
	Status     func(T) appsv1.ReplicaSetStatus
	WithStatus func(T, appsv1.ReplicaSetStatus) T
	// CountsTerminating: the status has a field for pods that are being deleted.
	CountsTerminating bool
}

// Spec is what an owner wants.
type Spec struct {
	Replicas int32
	Selector labels.Selector
	Template *corev1.PodTemplateSpec
	MinReady int32 // seconds
}

// burst bounds how many pods one reconcile creates or deletes.
const burst = 500

// Controller drives the owners of one kind.
type Controller[T client.Object] struct {
	kind    Kind[T]
	workers int
	client  client.Interface
	writer  podset.Writer
	owners  *client.Informer[T]
	pods    *client.Informer[*corev1.Pod]
	queue   *client.Queue[object.Key]
	expect  *podset.Expectations[object.Key]
	log     *slog.Logger
}

// New registers with the informers. workers is how many owners are worked on at a time.
func New[T client.Object](d controllers.Deps, kind Kind[T], workers int) *Controller[T] {
	c := &Controller[T]{
		kind:    kind,
		workers: workers,
		client:  d.Client(kind.Identity),
		owners:  client.InformerFor(d.Informers, kind.Resource),
		pods:    client.InformerFor(d.Informers, client.Pods),
		queue:   client.NewQueue[object.Key](kind.Controller),
		expect:  podset.NewExpectations[object.Key](),
		log:     controllers.Logger(kind.Controller),
	}
	c.writer = podset.Writer{Client: c.client, Recorder: d.Recorder(kind.Component), Kind: kind.GVK}
	podset.IndexByController(c.owners)
	podset.IndexByController(c.pods)
	c.owners.OnChange(c.ownerChanged)
	podset.Watcher{
		Kind: kind.GVK.Kind, Enqueue: c.enqueueRef, Orphan: c.orphan,
		Created: func(ns string, ref *metav1.OwnerReference) {
			c.expect.Created(object.Key{Namespace: ns, Name: ref.Name})
		},
		Deleted: func(ns string, ref *metav1.OwnerReference, uid types.UID) {
			c.expect.Deleted(object.Key{Namespace: ns, Name: ref.Name}, uid)
		},
	}.Watch(c.pods)
	return c
}

// Name is upstream's name of the controller.
func (c *Controller[T]) Name() string { return c.kind.Controller }

// Run works until ctx ends.
func (c *Controller[T]) Run(ctx context.Context) error {
	client.RunWorkers(ctx, c.queue, c.workers, c.reconcile)
	return nil
}

func (c *Controller[T]) ownerChanged(old, new T) {
	var none T
	was, is := client.Object(old), client.Object(new)
	if was != client.Object(none) {
		key := object.KeyOf(old)
		if is == client.Object(none) || old.GetUID() != new.GetUID() {
			c.expect.Forget(key)
		}
		c.queue.Add(key)
		return
	}
	c.queue.Add(object.KeyOf(new))
}

func (c *Controller[T]) enqueueRef(ns string, ref *metav1.OwnerReference) {
	if o, ok := c.owners.Get(ns, ref.Name); ok && o.GetUID() == ref.UID {
		c.queue.Add(object.Key{Namespace: ns, Name: ref.Name})
	}
}

func (c *Controller[T]) orphan(pod *corev1.Pod) {
	for _, o := range c.owners.InNamespace(pod.Namespace) {
		if s, err := c.kind.Spec(o); err == nil && !s.Selector.Empty() && s.Selector.Matches(labels.Set(pod.Labels)) {
			c.queue.Add(object.KeyOf(o))
		}
	}
}

func (c *Controller[T]) reconcile(ctx context.Context, key object.Key) error {
	owner, ok := c.owners.Get(key.Namespace, key.Name)
	if !ok {
		c.expect.Forget(key)
		return nil
	}
	spec, err := c.kind.Spec(owner)
	if err != nil {
		c.log.Warn("invalid specification, left alone", "key", key.String(), "error", err)
		return nil
	}
	now := time.Now()
	met, left := c.expect.Met(key, now)
	pods, err := c.claim(ctx, owner, spec)
	if err != nil {
		return err
	}
	active := podset.Filter(pods, podset.IsActive)
	var failed error
	diff := len(active) - int(spec.Replicas)
	switch {
	case !met:
		c.queue.AddAfter(key, left)
	case owner.GetDeletionTimestamp() == nil && diff != 0:
		failed = c.manage(ctx, key, owner, spec, active, diff)
	}
	if err := c.writeStatus(ctx, key, owner, spec, pods, active, diff, failed, time.Now()); err != nil && failed == nil {
		return err
	}
	return failed
}

func (c *Controller[T]) claim(ctx context.Context, owner T, spec Spec) ([]*corev1.Pod, error) {
	cl := podset.Claim[*corev1.Pod]{
		Client: c.client, Resource: client.Pods, Owner: owner, Kind: c.kind.GVK, Selector: spec.Selector,
		Fresh: func(ctx context.Context) (metav1.Object, error) {
			return c.kind.Resource.Get(ctx, c.client, owner.GetNamespace(), owner.GetName())
		},
	}
	free := podset.Filter(podset.Orphans(c.pods, owner.GetNamespace()), podset.IsActive)
	return cl.Of(ctx, podset.Controlled(c.pods, owner.GetUID()), free)
}

// manage creates or deletes pods: diff is how many there are too many.
func (c *Controller[T]) manage(ctx context.Context, key object.Key, owner T, spec Spec, active []*corev1.Pod, diff int) error {
	if diff < 0 {
		return c.create(ctx, key, owner, spec, min(-diff, burst))
	}
	return c.remove(ctx, key, owner, active, min(diff, burst))
}

// writeStatus reports what there is, if that is not what the owner says already, and comes back when a ready pod will
// have been ready for long enough.
func (c *Controller[T]) writeStatus(ctx context.Context, key object.Key, owner T, spec Spec, pods, active []*corev1.Pod, diff int, failed error, now time.Time) error {
	old := c.kind.Status(owner)
	next := status(old, spec, pods, active, diff, failed, now)
	if !c.kind.CountsTerminating {
		next.TerminatingReplicas = nil
	}
	next.ObservedGeneration = owner.GetGeneration()
	if left := nextAvailable(active, spec.MinReady, now); left > 0 {
		c.queue.AddAfter(key, left)
	}
	if equal(old, next) {
		return nil
	}
	_, err := c.kind.Resource.UpdateStatus(ctx, c.client, c.kind.WithStatus(owner, next))
	// A conflict means that a newer version is on its way here, and the key with it.
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("status: %w", err)
	}
	return nil
}
