// Package statefulset keeps pods that have an identity: a name, a number, and volumes of their own (apps/v1 StatefulSet).
//
// Watches: StatefulSets, Pods, ControllerRevisions, PersistentVolumeClaims. Writes: Pods (create, delete, adopt, release, labels),
// PersistentVolumeClaims (create, owners), ControllerRevisions, StatefulSet status, events "SuccessfulCreate", "FailedCreate",
// "SuccessfulDelete", "FailedDelete", "RecreatingFailedPod", "RecreatingTerminatedPod".
//
// The pure part is state.go (which pod has which number), plan.go (what to create and delete next; in order, or all at once) and
// status.go. identity.go makes pods, claims.go their claims. A reconcile makes one step and waits for its echo; the next follows from
// the change of the pods that it causes.
package statefulset

import (
	"context"
	"log/slog"
	"math"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/utils/ptr"

	"hyperkube/internal/client"
	"hyperkube/internal/controllers"
	"hyperkube/internal/controllers/history"
	"hyperkube/internal/controllers/ownwrites"
	"hyperkube/internal/controllers/podset"
	"hyperkube/internal/object"
)

// Name is upstream's name of the controller.
const Name = "statefulset-controller"

// hashLabel is on revisions; the pods' label has the revision's name.
const hashLabel = "controller.kubernetes.io/hash"

var kind = appsv1.SchemeGroupVersion.WithKind("StatefulSet")

type controller struct {
	workers   int
	client    client.Interface
	events    record.EventRecorder
	sets      *client.Informer[*appsv1.StatefulSet]
	pods      *client.Informer[*corev1.Pod]
	revisions *client.Informer[*appsv1.ControllerRevision]
	claims    *client.Informer[*corev1.PersistentVolumeClaim]
	queue     *client.Queue[object.Key]
	expect    *podset.Expectations[object.Key]
	written   ownwrites.Set[*appsv1.StatefulSet]
	backoff   *flowcontrol.Backoff // of pods that fail, by set and name
	log       *slog.Logger
}

// New registers the controller. workers is how many StatefulSets are worked on at a time.
func New(d controllers.Deps, workers int) controllers.Controller {
	c := &controller{
		workers:   workers,
		client:    d.Client("statefulset-controller"),
		events:    d.Recorder("statefulset-controller"),
		sets:      client.InformerFor(d.Informers, client.StatefulSets),
		pods:      client.InformerFor(d.Informers, client.Pods),
		revisions: client.InformerFor(d.Informers, client.ControllerRevisions),
		claims:    client.InformerFor(d.Informers, client.PersistentVolumeClaims),
		queue:     client.NewQueue[object.Key](Name),
		expect:    podset.NewExpectations[object.Key](),
		backoff:   flowcontrol.NewBackOff(time.Second, time.Minute),
		log:       controllers.Logger(Name),
	}
	podset.IndexByController(c.pods)
	podset.IndexByController(c.revisions)
	c.sets.OnChange(c.setChanged)
	c.revisions.OnChange(c.revisionChanged)
	c.claims.OnChange(c.claimChanged)
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

func (c *controller) setChanged(old, new *appsv1.StatefulSet) {
	if old != nil && (new == nil || old.UID != new.UID) {
		c.expect.Forget(object.KeyOf(old))
		c.written.Forget(object.KeyOf(old))
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

// claimChanged wakes the set of a claim that is gone or is made anew.
func (c *controller) claimChanged(old, new *corev1.PersistentVolumeClaim) {
	if old == nil || (new != nil && new.UID == old.UID && (new.DeletionTimestamp == nil) == (old.DeletionTimestamp == nil)) {
		return
	}
	c.enqueueMatching(old.Namespace, old.Labels)
}

func (c *controller) enqueueRef(ns string, ref *metav1.OwnerReference) {
	if s, ok := c.sets.Get(ns, ref.Name); ok && s.UID == ref.UID {
		c.queue.Add(object.Key{Namespace: ns, Name: ref.Name})
	}
}

func (c *controller) enqueueMatching(ns string, l map[string]string) {
	for _, s := range c.sets.InNamespace(ns) {
		if sel, err := metav1.LabelSelectorAsSelector(s.Spec.Selector); err == nil && !sel.Empty() && sel.Matches(labels.Set(l)) {
			c.queue.Add(object.KeyOf(s))
		}
	}
}

func (c *controller) reconcile(ctx context.Context, key object.Key) error {
	set, ok := c.sets.Get(key.Namespace, key.Name)
	if !ok {
		return nil
	}
	set = c.written.Newest(set)
	selector, err := metav1.LabelSelectorAsSelector(set.Spec.Selector)
	if err != nil || selector.Empty() {
		c.log.Warn("invalid selector, left alone", "key", key.String(), "error", err)
		return nil
	}
	met, left := c.expect.Met(key, time.Now())
	pods, err := c.claim(ctx, set, selector)
	if err != nil {
		return err
	}
	s := &state{set: set, now: time.Now()}
	old, err := c.findRevisions(ctx, s, selector)
	if err != nil || s.update == nil {
		return quiet(err)
	}
	s.sort(pods)
	var failed error
	switch {
	case !met:
		c.queue.AddAfter(key, left)
	case set.DeletionTimestamp == nil:
		failed = c.act(ctx, key, s)
	}
	if failed == nil && met {
		failed = c.trim(ctx, s, old, pods)
	}
	if err := c.writeStatus(ctx, key, s); err != nil && failed == nil {
		return err
	}
	return quiet(failed)
}

// quiet drops a conflict: it means that a newer version is on its way here, and the key with it.
func quiet(err error) error {
	if apierrors.IsConflict(err) {
		return nil
	}
	return err
}

// claim finds the set's pods. Of those without a controller it takes only those that have a name of the set.
func (c *controller) claim(ctx context.Context, set *appsv1.StatefulSet, selector labels.Selector) ([]*corev1.Pod, error) {
	cl := podset.Claim[*corev1.Pod]{Client: c.client, Resource: client.Pods, Owner: set, Kind: kind, Selector: selector, Fresh: c.fresh(set)}
	free := podset.Filter(podset.Orphans(c.pods, set.Namespace), func(p *corev1.Pod) bool { _, ok := ordinalOf(set, p.Name); return ok })
	return cl.Of(ctx, podset.Controlled(c.pods, set.UID), free)
}

func (c *controller) fresh(set *appsv1.StatefulSet) func(context.Context) (metav1.Object, error) {
	return func(ctx context.Context) (metav1.Object, error) {
		return client.StatefulSets.Get(ctx, c.client, set.Namespace, set.Name)
	}
}

// findRevisions finds or makes the revision of the present template, and finds the one that the pods had before. It gives the old
// ones, the oldest first. There is no update revision, without an error, where another look will follow by itself.
func (c *controller) findRevisions(ctx context.Context, s *state, selector labels.Selector) ([]*appsv1.ControllerRevision, error) {
	set := s.set
	cl := podset.Claim[*appsv1.ControllerRevision]{
		Client: c.client, Resource: client.ControllerRevisions, Owner: set, Kind: kind, Selector: selector, Fresh: c.fresh(set),
	}
	all, err := cl.Of(ctx, podset.Controlled(c.revisions, set.UID), podset.Orphans(c.revisions, set.Namespace))
	if err != nil {
		return nil, err
	}
	update, old, collided, err := history.Ensure(ctx, c.client, all, history.Wanted{
		Owner: set, Kind: kind, Template: &set.Spec.Template, Collisions: set.Status.CollisionCount, Label: hashLabel,
	})
	if err != nil {
		return nil, err
	}
	if collided {
		next := set.DeepCopy()
		next.Status.CollisionCount = ptr.To(ptr.Deref(set.Status.CollisionCount, 0) + 1)
		_, err = client.StatefulSets.UpdateStatus(ctx, c.client, next)
		return nil, err
	}
	s.update, s.current = update, update
	for _, r := range all {
		if r.Name == set.Status.CurrentRevision {
			s.current = r
		}
	}
	return old, nil
}

// trim deletes the oldest revisions beyond spec.revisionHistoryLimit that no pod was made from.
func (c *controller) trim(ctx context.Context, s *state, old []*appsv1.ControllerRevision, pods []*corev1.Pod) error {
	used := map[string]bool{s.current.Name: true, s.update.Name: true}
	for _, p := range pods {
		used[revisionOf(p)] = true
	}
	old = deleteUsed(old, used)
	limit := ptr.Deref(s.set.Spec.RevisionHistoryLimit, math.MaxInt32)
	return history.Trim(ctx, c.client, old, int(limit), func(*appsv1.ControllerRevision) bool { return false })
}

// deleteUsed leaves out revisions in use: only the others count towards the limit.
func deleteUsed(all []*appsv1.ControllerRevision, used map[string]bool) (out []*appsv1.ControllerRevision) {
	for _, r := range all {
		if !used[r.Name] {
			out = append(out, r)
		}
	}
	return out
}

func (c *controller) writeStatus(ctx context.Context, key object.Key, s *state) error {
	next, soonest := s.status()
	if soonest > 0 {
		c.queue.AddAfter(key, soonest)
	}
	if apiequality.Semantic.DeepEqual(s.set.Status, next) {
		return nil
	}
	set := s.set.DeepCopy()
	set.Status = next
	got, err := client.StatefulSets.UpdateStatus(ctx, c.client, set)
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	c.written.Wrote(got)
	if got.Status.CurrentRevision != s.set.Status.CurrentRevision {
		c.queue.Add(key) // what may be forgotten now depends on it
	}
	return nil
}
