// Package namespace empties namespaces that are being deleted, and lets them go when they are empty.
//
// Watches: Namespaces, Pods. Writes: deletes every object of the namespace, of whatever kind the server serves; the
// namespace's status (conditions) and its finalizer "kubernetes".
//
// Pods go first (KEP-5080): nothing else is deleted while one is left, so that a pod never runs without the policies and the
// secrets that it was made with. What is left after a pass (graceful deletion, finalizers) is waited for: pods by their own
// events, everything else by looking again after a time that doubles from a quarter second to fifteen.
package namespace

import (
	"context"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/client"
	"hyperkube/internal/controllers"
)

// Name is upstream's name of the controller.
const Name = "namespace-controller"

const (
	firstLook = 250 * time.Millisecond
	lastLook  = 15 * time.Second
)

type controller struct {
	client     client.Interface
	namespaces *client.Informer[*corev1.Namespace]
	queue      *client.Queue[string]
	workers    int
	log        *slog.Logger

	mu    sync.Mutex
	looks map[string]time.Duration // how long the last look was put off
}

// New registers the controller. workers is how many namespaces are emptied at a time.
func New(d controllers.Deps, workers int) controllers.Controller {
	c := &controller{
		client:     d.Client("namespace-controller"),
		namespaces: client.InformerFor(d.Informers, client.Namespaces),
		queue:      client.NewQueueWithBackoff[string](Name, 100*time.Millisecond, 30*time.Second),
		workers:    workers,
		log:        controllers.Logger(Name),
		looks:      map[string]time.Duration{},
	}
	c.namespaces.OnChange(func(_, new *corev1.Namespace) {
		if new != nil && new.DeletionTimestamp != nil {
			c.queue.Add(new.Name)
		}
	})
	client.InformerFor(d.Informers, client.Pods).OnChange(func(old, new *corev1.Pod) {
		if new != nil {
			return
		}
		if ns, ok := c.namespaces.Get("", old.Namespace); ok && ns.DeletionTimestamp != nil {
			c.queue.Add(ns.Name)
		}
	})
	return c
}

func (c *controller) Name() string { return Name }

func (c *controller) Run(ctx context.Context) error {
	client.RunWorkers(ctx, c.queue, c.workers, c.reconcile)
	return nil
}

func (c *controller) reconcile(ctx context.Context, name string) error {
	// The newest state, since a finalizer taken away by a cache that is behind would come back as a conflict.
	ns, err := client.Namespaces.Get(ctx, c.client, "", name)
	if apierrors.IsNotFound(err) {
		c.forget(name)
		return nil
	}
	if err != nil {
		return err
	}
	if ns.DeletionTimestamp == nil || !ours(ns) {
		c.forget(name)
		return nil
	}
	p := &pass{c: c.client, namespace: name}
	p.run(ctx)
	if err := c.writeStatus(ctx, ns, p); err != nil {
		return err
	}
	if err := p.err(); err != nil {
		return err
	}
	if p.left() > 0 {
		c.queue.AddAfter(name, c.nextLook(name))
		return nil
	}
	c.forget(name)
	return c.finalize(ctx, name)
}

func ours(ns *corev1.Namespace) bool {
	for _, f := range ns.Spec.Finalizers {
		if f == corev1.FinalizerKubernetes {
			return true
		}
	}
	return false
}

func (c *controller) nextLook(name string) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := min(max(2*c.looks[name], firstLook), lastLook)
	c.looks[name] = d
	return d
}

func (c *controller) forget(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.looks, name)
}

func (c *controller) writeStatus(ctx context.Context, ns *corev1.Namespace, p *pass) error {
	next := ns.DeepCopy()
	changed := next.Status.Phase != corev1.NamespaceTerminating
	next.Status.Phase = corev1.NamespaceTerminating
	for _, cond := range p.conditions() {
		changed = setCondition(&next.Status, cond, time.Now()) || changed
	}
	if !changed {
		return nil
	}
	_, err := client.Namespaces.UpdateStatus(ctx, c.client, next)
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil // only a report: the next pass makes it again
	}
	return err
}

// finalize takes our finalizer away; the server then removes the namespace if no other is left.
func (c *controller) finalize(ctx context.Context, name string) error {
	for {
		ns, err := client.Namespaces.Get(ctx, c.client, "", name)
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		next := ns.DeepCopy()
		next.Spec.Finalizers = nil
		for _, f := range ns.Spec.Finalizers {
			if f != corev1.FinalizerKubernetes {
				next.Spec.Finalizers = append(next.Spec.Finalizers, f)
			}
		}
		_, err = c.client.Update(ctx, client.Namespaces.GVR, next, metav1.UpdateOptions{}, "finalize")
		if !apierrors.IsConflict(err) || ctx.Err() != nil {
			if apierrors.IsNotFound(err) {
				return nil
			}
			return err
		}
	}
}
