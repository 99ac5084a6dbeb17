// Package daemonset keeps one pod of each DaemonSet (apps/v1) on every node that it fits.
//
// Watches: DaemonSets, Pods, Nodes, ControllerRevisions. Writes: Pods (create, delete, adopt, release), ControllerRevisions,
// DaemonSet status, events as the ReplicaSet's and "FailedDaemonPod", "SucceededDaemonPod", "SelectingAll".
//
// Pods are bound to their node by a node affinity and go through the scheduler. What to do on each node is decided by pure
// functions: nodes.go (does the set fit a node), plan.go (which pods to create and delete), update.go (how far a rolling
// update may go). A reconcile costs as much as there are nodes; a change of a node wakes only the sets that
// the change matters to.
package daemonset

import (
	"context"
	"errors"
	"log/slog"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/flowcontrol"

	"hyperkube/internal/client"
	"hyperkube/internal/controllers"
	"hyperkube/internal/controllers/podset"
	"hyperkube/internal/object"
)

// Name is upstream's name of the controller.
const Name = "daemonset-controller"

// burst bounds how many pods one reconcile creates or deletes.
const burst = 250

var kind = appsv1.SchemeGroupVersion.WithKind("DaemonSet")

type controller struct {
	workers   int
	client    client.Interface
	events    record.EventRecorder
	writer    podset.Writer
	sets      *client.Informer[*appsv1.DaemonSet]
	pods      *client.Informer[*corev1.Pod]
	nodes     *client.Informer[*corev1.Node]
	revisions *client.Informer[*appsv1.ControllerRevision]
	queue     *client.Queue[object.Key]
	expect    *podset.Expectations[object.Key]
	backoff   *flowcontrol.Backoff // of pods that fail, by set and node
	log       *slog.Logger
}

// New registers the controller. workers is how many DaemonSets are worked on at a time.
func New(d controllers.Deps, workers int) controllers.Controller {
	c := &controller{
		workers:   workers,
		client:    d.Client("daemon-set-controller"),
		events:    d.Recorder("daemonset-controller"),
		sets:      client.InformerFor(d.Informers, client.DaemonSets),
		pods:      client.InformerFor(d.Informers, client.Pods),
		nodes:     client.InformerFor(d.Informers, client.Nodes),
		revisions: client.InformerFor(d.Informers, client.ControllerRevisions),
		queue:     client.NewQueue[object.Key](Name),
		expect:    podset.NewExpectations[object.Key](),
		backoff:   flowcontrol.NewBackOff(time.Second, 15*time.Minute),
		log:       controllers.Logger(Name),
	}
	c.writer = podset.Writer{Client: c.client, Recorder: c.events, Kind: kind}
	podset.IndexByController(c.pods)
	podset.IndexByController(c.revisions)
	c.sets.OnChange(c.setChanged)
	c.revisions.OnChange(c.revisionChanged)
	c.nodes.OnChange(c.nodeChanged)
	podset.Watcher{
		Kind: kind.Kind, Enqueue: c.enqueueRef, Orphan: func(p *corev1.Pod) { c.enqueueMatching(p.Namespace, p.Labels) },
		Created: func(ns string, ref *metav1.OwnerReference) {
			c.expect.Created(object.Key{Namespace: ns, Name: ref.Name})
		},
		Deleted: func(ns string, ref *metav1.OwnerReference, uid types.UID) {
			c.expect.Deleted(object.Key{Namespace: ns, Name: ref.Name}, uid)
		},
	}.Watch(c.pods)
	return c
}

func (c *controller) Name() string { return Name }

func (c *controller) Run(ctx context.Context) error {
	client.RunWorkers(ctx, c.queue, c.workers, c.reconcile)
	return nil
}

func (c *controller) setChanged(old, new *appsv1.DaemonSet) {
	if old != nil && (new == nil || old.UID != new.UID) {
		c.expect.Forget(object.KeyOf(old))
	}
	if new == nil {
		new = old
	}
	c.queue.Add(object.KeyOf(new))
}

func (c *controller) revisionChanged(old, new *appsv1.ControllerRevision) {
	for _, r := range []*appsv1.ControllerRevision{old, new} {
		if r == nil {
			continue
		}
		if ref := metav1.GetControllerOfNoCopy(r); ref != nil {
			if ref.Kind == kind.Kind {
				c.enqueueRef(r.Namespace, ref)
			}
		} else if r == new {
			c.enqueueMatching(r.Namespace, r.Labels)
		}
	}
}

func (c *controller) enqueueRef(ns string, ref *metav1.OwnerReference) {
	if ds, ok := c.sets.Get(ns, ref.Name); ok && ds.UID == ref.UID {
		c.queue.Add(object.Key{Namespace: ns, Name: ref.Name})
	}
}

func (c *controller) enqueueMatching(ns string, l map[string]string) {
	for _, ds := range c.sets.InNamespace(ns) {
		if s, err := metav1.LabelSelectorAsSelector(ds.Spec.Selector); err == nil && !s.Empty() && s.Matches(labels.Set(l)) {
			c.queue.Add(object.KeyOf(ds))
		}
	}
}

// nodeChanged wakes the sets that fit the node otherwise than before.
func (c *controller) nodeChanged(old, new *corev1.Node) {
	if old != nil && new != nil && sameForSets(old, new) {
		return
	}
	for _, ds := range c.sets.List() {
		f := newFit(ds)
		was, is := verdict{}, verdict{}
		if old != nil {
			was = f.on(old)
		}
		if new != nil {
			is = f.on(new)
		}
		if was != is {
			c.queue.Add(object.KeyOf(ds))
		}
	}
}

func (c *controller) reconcile(ctx context.Context, key object.Key) error {
	ds, ok := c.sets.Get(key.Namespace, key.Name)
	if !ok {
		c.expect.Forget(key)
		return nil
	}
	selector, err := metav1.LabelSelectorAsSelector(ds.Spec.Selector)
	if err != nil {
		c.log.Warn("invalid selector, left alone", "key", key.String(), "error", err)
		return nil
	}
	if selector.Empty() {
		c.events.Event(ds, corev1.EventTypeWarning, "SelectingAll", "This daemon set is selecting all pods. A non-empty selector is required.")
		return nil
	}
	if ds.DeletionTimestamp != nil {
		return nil
	}
	rev, old, err := c.revision(ctx, ds, selector)
	if err != nil {
		return quiet(err)
	}
	if rev == nil { // the name was taken, or the namespace is ending
		return nil
	}
	now := time.Now()
	met, left := c.expect.Met(key, now)
	pods, err := c.claim(ctx, ds, selector)
	if err != nil {
		return err
	}
	s := survey(ds, c.nodes.List(), pods, rev.Labels[appsv1.ControllerRevisionHashLabelKey], now)
	var failed error
	if met {
		failed = c.act(ctx, key, ds, s)
	} else {
		c.queue.AddAfter(key, left)
	}
	if failed == nil && met {
		failed = c.trim(ctx, ds, old, pods)
	}
	if err := c.writeStatus(ctx, key, ds, s); err != nil && failed == nil {
		return err
	}
	return quiet(failed)
}

// quiet takes conflicts away: the newer version of the object brings the key back.
func quiet(err error) error {
	if apierrors.IsConflict(err) {
		return nil
	}
	return err
}

func (c *controller) claim(ctx context.Context, ds *appsv1.DaemonSet, selector labels.Selector) ([]*corev1.Pod, error) {
	cl := podset.Claim[*corev1.Pod]{
		Client: c.client, Resource: client.Pods, Owner: ds, Kind: kind, Selector: selector,
		Fresh: func(ctx context.Context) (metav1.Object, error) {
			return client.DaemonSets.Get(ctx, c.client, ds.Namespace, ds.Name)
		},
	}
	return cl.Of(ctx, podset.Controlled(c.pods, ds.UID), podset.Orphans(c.pods, ds.Namespace))
}

// act brings pods where they belong; when that needs nothing, it takes a rolling update one step on.
func (c *controller) act(ctx context.Context, key object.Key, ds *appsv1.DaemonSet, s *state) error {
	p := s.manage(c.mayRetry(key, ds))
	for _, e := range p.events {
		c.events.Event(ds, e.kind, e.reason, e.message)
	}
	if len(p.create) == 0 && len(p.remove) == 0 && ds.Spec.UpdateStrategy.Type == appsv1.RollingUpdateDaemonSetStrategyType {
		p = s.update()
	}
	return c.apply(ctx, key, ds, s, p)
}

// mayRetry says whether a failed pod may be deleted now, so that another follows; otherwise it wakes the set when it may.
func (c *controller) mayRetry(key object.Key, ds *appsv1.DaemonSet) func(node string) bool {
	return func(node string) bool {
		id := string(ds.UID) + "/" + node
		now := c.backoff.Clock.Now()
		if c.backoff.IsInBackOffSinceUpdate(id, now) {
			c.queue.AddAfter(key, c.backoff.Get(id))
			return false
		}
		c.backoff.Next(id, now)
		return true
	}
}

func (c *controller) apply(ctx context.Context, key object.Key, ds *appsv1.DaemonSet, s *state, p plan) error {
	create, remove := p.create[:min(len(p.create), burst)], p.remove[:min(len(p.remove), burst)]
	_, createErr := c.expect.Creating(key, len(create), func(i int) error { return c.writer.Create(ctx, ds, podFor(ds, create[i], s.hash)) })
	_, removeErr := c.expect.Deleting(key, remove, func(pod *corev1.Pod) error { return c.writer.Delete(ctx, ds, pod) })
	return errors.Join(createErr, removeErr)
}
