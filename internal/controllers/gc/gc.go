// Package gc deletes objects whose owners are gone, and carries out the three ways to delete an owner: background
// (dependents follow), foreground (dependents go first) and orphan (dependents stay and lose the reference).
// See https://kubernetes.io/docs/concepts/architecture/garbage-collection/.
//
// Watches: every resource that the server lists, watches and deletes (but events), custom ones included; they are
// found by discovery, again whenever a CustomResourceDefinition or an APIService changes. Writes: deletes dependents,
// edits metadata.ownerReferences and metadata.finalizers, events "OwnerRefInvalidNamespace".
//
// The caches feed a graph of who owns whom (graph.go); what changes in it puts objects into a queue. That an owner exists is
// taken from a cache; that it does not is believed only when the server says so, and every deletion is
// guarded by the UID and the version that were judged. So a cache that is behind can delay a deletion, never cause one.
package gc

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"

	"hyperkube/internal/client"
	"hyperkube/internal/controllers"
)

// Name is upstream's name of the controller.
const Name = "garbage-collector-controller"

// syncFor is how long the start waits for all caches. The work then begins without those that are still missing.
const syncFor = 30 * time.Second

// task is one thing in the queue.
type task struct {
	orphan bool // let the dependents of uid go; otherwise look at uid itself
	uid    types.UID
}

type controller struct {
	client    client.Interface
	events    record.EventRecorder
	informers *client.Informers
	graph     *graph
	absent    *absent
	queue     *client.Queue[task]
	discovery *client.Queue[struct{}]
	workers   int
	log       *slog.Logger

	mu        sync.RWMutex
	monitors  map[client.GVR]*monitor
	resources map[schema.GroupKind]resource
}

// resource is how a kind is reached.
type resource struct {
	gvr        client.GVR
	namespaced bool
}

// monitor feeds the graph from one resource.
type monitor struct {
	gk     schema.GroupKind
	inf    *client.Informer[client.Object]
	shared bool // built-in: others may use the informer too
}

// New registers the controller. workers is how many objects are worked on at a time.
func New(d controllers.Deps, workers int) controllers.Controller {
	return &controller{
		client:    d.Client("generic-garbage-collector"),
		events:    d.Recorder("garbage-collector-controller"),
		informers: d.Informers,
		graph:     newGraph(),
		absent:    newAbsent(500),
		queue:     client.NewQueue[task](Name),
		discovery: client.NewQueueWithBackoff[struct{}](Name, 100*time.Millisecond, 30*time.Second),
		workers:   workers,
		log:       controllers.Logger(Name),
		monitors:  map[client.GVR]*monitor{},
		resources: map[schema.GroupKind]resource{},
	}
}

func (c *controller) Name() string { return Name }

// Run discovers, waits for the caches and works until ctx ends.
func (c *controller) Run(ctx context.Context) error {
	if err := c.discover(ctx, struct{}{}); err != nil {
		return fmt.Errorf("discovery: %w", err)
	}
	c.waitForSync(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { client.RunWorkers(ctx, c.discovery, 1, c.discover) })
	client.RunWorkers(ctx, c.queue, c.workers, c.work)
	wg.Wait()
	return nil
}

func (c *controller) waitForSync(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, syncFor)
	defer cancel()
	c.mu.RLock()
	all := make(map[client.GVR]*monitor, len(c.monitors))
	for r, m := range c.monitors {
		all[r] = m
	}
	c.mu.RUnlock()
	for r, m := range all {
		if err := m.inf.WaitForSync(limited); err != nil && ctx.Err() == nil {
			c.log.Warn("starting without the cache of a resource", "resource", r.String(), "error", err)
		}
	}
}

func (c *controller) apply(e effects) {
	for _, uid := range e.orphan {
		c.queue.Add(task{orphan: true, uid: uid})
	}
	for _, uid := range e.check {
		c.queue.Add(task{uid: uid})
	}
}

// observe feeds one change of a resource to the graph.
func (c *controller) observe(gvr client.GVR, gk schema.GroupKind, old, new client.Object) {
	if old != nil && (new == nil || old.GetUID() != new.GetUID()) {
		c.apply(c.graph.drop(old.GetUID()))
		c.absent.add(old.GetUID())
	}
	if new == nil || (old != nil && old.GetUID() == new.GetUID() && !matters(old, new)) {
		return
	}
	id := ident{gk: gk, namespace: new.GetNamespace(), name: new.GetName(), uid: new.GetUID()}
	e := c.graph.put(id, gvr, new)
	c.apply(e)
	for _, r := range e.mismatched {
		c.warnNamespace(id, r)
	}
}

// matters says whether a change touches ownership or deletion. Almost none does.
func matters(old, new client.Object) bool {
	return (old.GetDeletionTimestamp() == nil) != (new.GetDeletionTimestamp() == nil) ||
		!apiequality.Semantic.DeepEqual(old.GetOwnerReferences(), new.GetOwnerReferences()) ||
		!apiequality.Semantic.DeepEqual(old.GetFinalizers(), new.GetFinalizers())
}

func (c *controller) warnNamespace(id ident, r metav1.OwnerReference) {
	ref := &corev1.ObjectReference{
		Kind: id.gk.Kind, APIVersion: schema.GroupVersion{Group: id.gk.Group, Version: c.version(id.gk)}.String(),
		Namespace: id.namespace, Name: id.name, UID: id.uid,
	}
	c.events.Eventf(ref, corev1.EventTypeWarning, "OwnerRefInvalidNamespace",
		"ownerRef [%s/%s, namespace: %s, name: %s, uid: %s] does not exist in namespace %q", r.APIVersion, r.Kind, id.namespace, r.Name, r.UID, id.namespace)
}

func (c *controller) version(gk schema.GroupKind) string {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.resources[gk].gvr.Version
}

func (c *controller) work(ctx context.Context, t task) error {
	if t.orphan {
		return c.orphan(ctx, t.uid)
	}
	return c.check(ctx, t.uid)
}
