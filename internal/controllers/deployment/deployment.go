// Package deployment moves pods from one template to the next (apps/v1 Deployment).
//
// Watches: Deployments, ReplicaSets, Pods (only for the strategy Recreate, which waits until the old ones are
// gone). Writes: ReplicaSets (one for each template: create, scale, adopt, delete old ones), Deployment status and the
// revision annotation, events "ScalingReplicaSet", "ReplicaSetCreateError", "SelectingAll".
//
// A reconcile finds the replica set of the present template and the old ones, makes at most one step (create, scale,
// wait) and writes the status. The next step follows from the change of the replica sets that this one causes. All
// arithmetic is in pure functions: rolling.go (how far to scale in one step), proportional.go (sharing out a
// change of size), revision.go (revisions and annotations), progress.go (conditions and deadlines).
package deployment

import (
	"context"
	"log/slog"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/tools/record"

	"hyperkube/internal/client"
	"hyperkube/internal/controllers"
	"hyperkube/internal/controllers/podset"
	"hyperkube/internal/object"
)

// Name is upstream's name of the controller.
const Name = "deployment-controller"

var kind = appsv1.SchemeGroupVersion.WithKind("Deployment")

type controller struct {
	workers     int
	client      client.Interface
	events      record.EventRecorder
	deployments *client.Informer[*appsv1.Deployment]
	sets        *client.Informer[*appsv1.ReplicaSet]
	pods        *client.Informer[*corev1.Pod]
	queue       *client.Queue[object.Key]
	log         *slog.Logger
}

// New registers the controller. workers is how many Deployments are worked on at a time.
func New(d controllers.Deps, workers int) controllers.Controller {
	c := &controller{
		workers:     workers,
		client:      d.Client("deployment-controller"),
		events:      d.Recorder("deployment-controller"),
		deployments: client.InformerFor(d.Informers, client.Deployments),
		sets:        client.InformerFor(d.Informers, client.ReplicaSets),
		pods:        client.InformerFor(d.Informers, client.Pods),
		queue:       client.NewQueue[object.Key](Name),
		log:         controllers.Logger(Name),
	}
	podset.IndexByController(c.sets)
	podset.IndexByController(c.pods)
	c.deployments.OnChange(c.deploymentChanged)
	c.sets.OnChange(c.setChanged)
	c.pods.OnChange(c.podChanged)
	return c
}

func (c *controller) Name() string { return Name }

func (c *controller) Run(ctx context.Context) error {
	client.RunWorkers(ctx, c.queue, c.workers, c.reconcile)
	return nil
}

func (c *controller) deploymentChanged(old, new *appsv1.Deployment) {
	if new == nil {
		new = old
	}
	c.queue.Add(object.KeyOf(new))
}

func (c *controller) setChanged(old, new *appsv1.ReplicaSet) {
	for _, rs := range []*appsv1.ReplicaSet{old, new} {
		if d := c.ownerOf(rs); d != nil {
			c.queue.Add(object.KeyOf(d))
		}
	}
	if new != nil && metav1.GetControllerOfNoCopy(new) == nil {
		for _, d := range c.deployments.InNamespace(new.Namespace) {
			if s, err := metav1.LabelSelectorAsSelector(d.Spec.Selector); err == nil && !s.Empty() && s.Matches(labels.Set(new.Labels)) {
				c.queue.Add(object.KeyOf(d))
			}
		}
	}
}

func (c *controller) ownerOf(rs *appsv1.ReplicaSet) *appsv1.Deployment {
	if rs == nil {
		return nil
	}
	ref := metav1.GetControllerOfNoCopy(rs)
	if ref == nil || ref.Kind != kind.Kind {
		return nil
	}
	if d, ok := c.deployments.Get(rs.Namespace, ref.Name); ok && d.UID == ref.UID {
		return d
	}
	return nil
}

// podChanged wakes a Deployment of the strategy Recreate when one of its pods has ended or is gone.
func (c *controller) podChanged(old, new *corev1.Pod) {
	if old == nil || (new != nil && (podset.IsTerminal(old) || !podset.IsTerminal(new))) {
		return
	}
	ref := metav1.GetControllerOfNoCopy(old)
	if ref == nil || ref.Kind != "ReplicaSet" {
		return
	}
	rs, ok := c.sets.Get(old.Namespace, ref.Name)
	if !ok || rs.UID != ref.UID {
		return
	}
	if d := c.ownerOf(rs); d != nil && d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType {
		c.queue.Add(object.KeyOf(d))
	}
}

func (c *controller) reconcile(ctx context.Context, key object.Key) error {
	cached, ok := c.deployments.Get(key.Namespace, key.Name)
	if !ok {
		return nil
	}
	selector, err := metav1.LabelSelectorAsSelector(cached.Spec.Selector)
	if err != nil {
		c.log.Warn("invalid selector, left alone", "key", key.String(), "error", err)
		return nil
	}
	if selector.Empty() {
		c.events.Event(cached, corev1.EventTypeWarning, "SelectingAll", "This deployment is selecting all pods. A non-empty selector is required.")
		return c.observe(ctx, cached)
	}
	sets, err := c.claim(ctx, cached, selector)
	if err != nil {
		return err
	}
	r := &rollout{c: c, cached: cached, d: cached.DeepCopy(), now: time.Now()}
	r.find(sets)
	err = r.step(ctx)
	// A conflict means that the cache is behind: the newer version brings the key back.
	if apierrors.IsConflict(err) {
		return nil
	}
	return err
}

// observe only says that the specification was seen.
func (c *controller) observe(ctx context.Context, d *appsv1.Deployment) error {
	if d.Status.ObservedGeneration >= d.Generation {
		return nil
	}
	d = d.DeepCopy()
	d.Status.ObservedGeneration = d.Generation
	_, err := client.Deployments.UpdateStatus(ctx, c.client, d)
	return err
}

func (c *controller) claim(ctx context.Context, d *appsv1.Deployment, selector labels.Selector) ([]*appsv1.ReplicaSet, error) {
	cl := podset.Claim[*appsv1.ReplicaSet]{
		Client: c.client, Resource: client.ReplicaSets, Owner: d, Kind: kind, Selector: selector,
		Fresh: func(ctx context.Context) (metav1.Object, error) {
			return client.Deployments.Get(ctx, c.client, d.Namespace, d.Name)
		},
	}
	return cl.Of(ctx, podset.Controlled(c.sets, d.UID), podset.Orphans(c.sets, d.Namespace))
}
