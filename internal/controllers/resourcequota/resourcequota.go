// Package resourcequota keeps the status of ResourceQuotas: what is limited, and what of it is used.
//
// The API server charges quotas as objects are made; this controller counts new quotas, gives back what objects that are gone
// (or pods that are over) had taken, and mends what went wrong. It follows only kinds that some quota limits.
//
// A charge comes before its object, so a count may miss objects that are on their way. Less than the status says is
// therefore only believed when two counts, some time apart, agree on it while nobody charged the quota.
//
// Watches: ResourceQuotas, and the kinds that they limit. Writes: status of ResourceQuotas.
package resourcequota

import (
	"context"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"hyperkube/internal/client"
	"hyperkube/internal/controllers"
	"hyperkube/internal/object"
	"hyperkube/internal/object/quota"
)

// Name is upstream's name of the controller.
const Name = "resourcequota-controller"

const (
	// settle gathers the changes of many objects into one count.
	settle = 100 * time.Millisecond
	// again is how long after a count that found less a second one must find the same.
	again = 300 * time.Millisecond
)

var quotas = client.Resource[*corev1.ResourceQuota]{GVR: corev1.SchemeGroupVersion.WithResource("resourcequotas")}

type controller struct {
	client    client.Interface
	informers *client.Informers
	quotas    *client.Informer[*corev1.ResourceQuota]
	queue     *client.Queue[object.Key]
	workers   int
	log       *slog.Logger

	mu       sync.Mutex
	followed map[schema.GroupResource]*client.Informer[client.Object]
	lower    map[object.Key]count // counts that await their confirmation
}

// count is what was found used, of a quota at a version.
type count struct {
	version string
	used    corev1.ResourceList
}

// New registers the controller.
func New(d controllers.Deps, workers int) controllers.Controller {
	c := &controller{
		client: d.Client("resourcequota-controller"), informers: d.Informers,
		quotas: client.InformerFor(d.Informers, quotas), queue: client.NewQueue[object.Key](Name), workers: workers, log: controllers.Logger(Name),
		followed: map[schema.GroupResource]*client.Informer[client.Object]{}, lower: map[object.Key]count{},
	}
	c.quotas.OnChange(func(old, new *corev1.ResourceQuota) {
		switch {
		case new == nil:
			c.forget(object.KeyOf(old))
		case old == nil || !quota.Equal(old.Spec.Hard, new.Spec.Hard) || !quota.Equal(new.Status.Hard, new.Spec.Hard):
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

func (c *controller) forget(key object.Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.lower, key)
}

func (c *controller) reconcile(ctx context.Context, key object.Key) error {
	q, ok := c.quotas.Get(key.Namespace, key.Name)
	if !ok {
		return nil
	}
	used, err := c.count(ctx, q)
	if err != nil {
		return err
	}
	if quota.Equal(q.Status.Hard, q.Spec.Hard) && quota.Equal(q.Status.Used, used) {
		c.forget(key)
		return nil
	}
	if lessThan(used, q.Status.Used) && !c.confirmed(key, count{q.ResourceVersion, used}) {
		c.queue.AddAfter(key, again)
		return nil
	}
	next := q.DeepCopy()
	next.Status = corev1.ResourceQuotaStatus{Hard: q.Spec.Hard.DeepCopy(), Used: used}
	_, err = quotas.UpdateStatus(ctx, c.client, next)
	if apierrors.IsConflict(err) {
		c.queue.AddAfter(key, settle) // charged meanwhile
		return nil
	}
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// confirmed says whether an earlier count found the same while the quota did not change, and remembers this one.
func (c *controller) confirmed(key object.Key, n count) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	was, ok := c.lower[key]
	c.lower[key] = n
	return ok && was.version == n.version && quota.Equal(was.used, n.used)
}

func lessThan(a, b corev1.ResourceList) bool {
	for name, q := range a {
		if have, ok := b[name]; ok && q.Cmp(have) < 0 {
			return true
		}
	}
	return false
}

// count adds up what the objects of a quota's namespace take.
func (c *controller) count(ctx context.Context, q *corev1.ResourceQuota) (corev1.ResourceList, error) {
	used := quota.Zero(q.Spec.Hard)
	kinds := map[schema.GroupResource]bool{}
	for name := range q.Spec.Hard {
		if gr, ok := quota.Of(name); ok {
			kinds[gr] = true
		}
	}
	now := time.Now()
	for gr := range kinds {
		inf, err := c.follow(ctx, gr)
		if err != nil {
			return nil, err
		}
		if inf == nil {
			continue // nobody serves it: there are none
		}
		for _, obj := range inf.InNamespace(q.Namespace) {
			if quota.InScope(q, obj) {
				quota.Add(used, quota.Only(quota.Usage(gr, obj, now), used))
			}
		}
	}
	return used, nil
}

// follow gives the informer of a kind that a quota limits, filled; nil when the kind is not served.
func (c *controller) follow(ctx context.Context, gr schema.GroupResource) (*client.Informer[client.Object], error) {
	c.mu.Lock()
	inf := c.followed[gr]
	c.mu.Unlock()
	if inf == nil {
		gvr, ok, err := c.find(ctx, gr)
		if err != nil || !ok {
			return nil, err
		}
		inf = c.informers.Any(gvr)
		c.mu.Lock()
		known := c.followed[gr] != nil
		c.followed[gr] = inf
		c.mu.Unlock()
		if !known {
			inf.OnChange(func(old, new client.Object) { c.changed(gr, old, new) })
		}
	}
	return inf, inf.WaitForSync(ctx)
}

// find looks up the version in which a resource is served.
func (c *controller) find(ctx context.Context, gr schema.GroupResource) (client.GVR, bool, error) {
	all, err := c.client.Resources(ctx)
	for _, r := range all {
		if r.Name == gr.Resource && r.Group == gr.Group && r.Namespaced {
			return client.GVR{Group: r.Group, Version: r.Version, Resource: r.Name}, true, nil
		}
	}
	return client.GVR{}, false, err
}

// changed has the quotas of a namespace counted anew when an object of it takes more or less than before.
func (c *controller) changed(gr schema.GroupResource, old, new client.Object) {
	obj := new
	if obj == nil {
		obj = old
	}
	for _, q := range c.quotas.InNamespace(obj.GetNamespace()) {
		if old == nil || new == nil || c.differ(q, gr, old, new) {
			c.queue.AddAfter(object.KeyOf(q), settle)
		}
	}
}

func (c *controller) differ(q *corev1.ResourceQuota, gr schema.GroupResource, old, new client.Object) bool {
	now := time.Now()
	return quota.InScope(q, old) != quota.InScope(q, new) || !quota.Equal(quota.Usage(gr, old, now), quota.Usage(gr, new, now))
}
