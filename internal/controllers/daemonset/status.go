package daemonset

import (
	"context"
	"math"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/utils/ptr"

	"hyperkube/internal/client"
	"hyperkube/internal/controllers/history"
	"hyperkube/internal/controllers/podset"
	"hyperkube/internal/object"
)

// status counts what was found; soonest is when a ready pod will count as available.
func (s *state) status() (out appsv1.DaemonSetStatus, soonest time.Duration) {
	out.ObservedGeneration = s.ds.Generation
	out.CollisionCount = s.ds.Status.CollisionCount
	out.Conditions = s.ds.Status.Conditions
	for i := range s.nodes {
		n := &s.nodes[i]
		if !n.run {
			if len(n.pods) > 0 {
				out.NumberMisscheduled++
			}
			continue
		}
		out.DesiredNumberScheduled++
		if len(n.pods) == 0 {
			continue
		}
		out.CurrentNumberScheduled++
		pod := n.pods[0]
		for _, p := range n.pods { // while a set surges, a pod that works speaks for the node
			if podset.IsReady(p) && !podset.IsReady(pod) {
				pod = p
			}
		}
		if left, ready := podset.UntilAvailable(pod, s.ds.Spec.MinReadySeconds, s.now); ready {
			out.NumberReady++
			switch {
			case left <= 0:
				out.NumberAvailable++
			case soonest == 0 || left < soonest:
				soonest = left
			}
		}
		for _, p := range n.pods {
			if s.updated(p) {
				out.UpdatedNumberScheduled++
				break
			}
		}
	}
	out.NumberUnavailable = out.DesiredNumberScheduled - out.NumberAvailable
	return out, soonest
}

func (c *controller) writeStatus(ctx context.Context, key object.Key, ds *appsv1.DaemonSet, s *state) error {
	next, soonest := s.status()
	if soonest > 0 {
		c.queue.AddAfter(key, soonest)
	}
	if apiequality.Semantic.DeepEqual(ds.Status, next) {
		return nil
	}
	ds = ds.DeepCopy()
	ds.Status = next
	_, err := client.DaemonSets.UpdateStatus(ctx, c.client, ds)
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// revision finds or makes the ControllerRevision of the present template, and gives the old ones, oldest first. It gives none,
// without an error, where another look will follow by itself.
func (c *controller) revision(ctx context.Context, ds *appsv1.DaemonSet, selector labels.Selector) (*appsv1.ControllerRevision, []*appsv1.ControllerRevision, error) {
	cl := podset.Claim[*appsv1.ControllerRevision]{
		Client: c.client, Resource: client.ControllerRevisions, Owner: ds, Kind: kind, Selector: selector,
		Fresh: func(ctx context.Context) (metav1.Object, error) {
			return client.DaemonSets.Get(ctx, c.client, ds.Namespace, ds.Name)
		},
	}
	all, err := cl.Of(ctx, podset.Controlled(c.revisions, ds.UID), podset.Orphans(c.revisions, ds.Namespace))
	if err != nil {
		return nil, nil, err
	}
	rev, old, collided, err := history.Ensure(ctx, c.client, all, history.Wanted{
		Owner: ds, Kind: kind, Template: &ds.Spec.Template, Collisions: ds.Status.CollisionCount, Label: history.HashLabel,
	})
	if err != nil || !collided {
		return rev, old, err
	}
	// Two templates have one hash: the next try uses another name. Our own status brings the key back.
	next := ds.DeepCopy()
	next.Status.CollisionCount = ptr.To(ptr.Deref(ds.Status.CollisionCount, 0) + 1)
	_, err = client.DaemonSets.UpdateStatus(ctx, c.client, next)
	return nil, nil, err
}

// trim deletes the oldest revisions beyond spec.revisionHistoryLimit that no pod was made from.
func (c *controller) trim(ctx context.Context, ds *appsv1.DaemonSet, old []*appsv1.ControllerRevision, pods []*corev1.Pod) error {
	limit := ptr.Deref(ds.Spec.RevisionHistoryLimit, math.MaxInt32)
	used := map[string]bool{}
	for _, p := range pods {
		used[p.Labels[history.HashLabel]] = true
	}
	return history.Trim(ctx, c.client, old, int(limit), func(r *appsv1.ControllerRevision) bool { return used[r.Labels[history.HashLabel]] })
}
