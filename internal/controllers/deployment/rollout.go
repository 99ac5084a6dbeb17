package deployment

import (
	"context"
	"math"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"hyperkube/internal/client"
	"hyperkube/internal/controllers/podset"
)

// rollout is one reconcile of one Deployment: what was found, and what is to be written.
type rollout struct {
	c      *controller
	cached *appsv1.Deployment   // shared, as it was found
	d      *appsv1.Deployment   // our copy: status and annotations change here until they are written
	new    *appsv1.ReplicaSet   // of the present template; nil when there is none yet
	old    []*appsv1.ReplicaSet // all others, oldest first
	now    time.Time
}

// find sorts the replica sets into the new one and the old ones. Of several with the present template the oldest is
// the new one, so that all who look agree.
func (r *rollout) find(sets []*appsv1.ReplicaSet) {
	slices.SortFunc(sets, byAge)
	for _, rs := range sets {
		if r.new == nil && sameTemplate(&rs.Spec.Template, &r.d.Spec.Template) {
			r.new = rs
			continue
		}
		r.old = append(r.old, rs)
	}
}

func byAge(a, b *appsv1.ReplicaSet) int {
	if c := a.CreationTimestamp.Compare(b.CreationTimestamp.Time); c != 0 {
		return c
	}
	if a.Name < b.Name {
		return -1
	}
	return 1
}

func (r *rollout) all() []*appsv1.ReplicaSet {
	if r.new == nil {
		return r.old
	}
	return append(slices.Clone(r.old), r.new)
}

func (r *rollout) step(ctx context.Context) error {
	if r.d.DeletionTimestamp != nil {
		return r.writeStatus(ctx)
	}
	r.notePause()
	switch {
	case r.d.Spec.Paused || r.resized():
		return r.resize(ctx)
	case r.d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType:
		return r.recreate(ctx)
	}
	return r.roll(ctx)
}

// resized says whether spec.replicas has changed since the replica sets were last scaled.
func (r *rollout) resized() bool {
	return slices.ContainsFunc(active(r.all()), func(rs *appsv1.ReplicaSet) bool {
		desired, ok := annotated(rs, DesiredReplicasAnnotation)
		return ok && desired != *r.d.Spec.Replicas
	})
}

// resize follows a change of spec.replicas without going on with the roll-out.
func (r *rollout) resize(ctx context.Context) error {
	if err := r.useNew(ctx, false); err != nil {
		return err
	}
	if err := r.scaleAll(ctx, resizing(r.d, r.new, r.old)); err != nil {
		return err
	}
	if r.d.Spec.Paused {
		if err := r.forgetHistory(ctx); err != nil {
			return err
		}
	}
	return r.writeStatus(ctx)
}

func (r *rollout) roll(ctx context.Context) error {
	if err := r.useNew(ctx, true); err != nil || r.new == nil {
		return err
	}
	size := rollUp(r.d, r.new, r.old)
	if size == *r.new.Spec.Replicas {
		if plan := rollDown(r.d, r.new, r.old); len(plan) > 0 {
			if err := r.scaleAll(ctx, plan); err != nil {
				return err
			}
			return r.rolled(ctx)
		}
	}
	if err := r.scaleAll(ctx, []scaling{{r.new, size}}); err != nil {
		return err
	}
	return r.rolled(ctx)
}

func (r *rollout) recreate(ctx context.Context) error {
	if err := r.useNew(ctx, false); err != nil {
		return err
	}
	if down := active(r.old); len(down) > 0 {
		var plan []scaling
		for _, rs := range down {
			plan = append(plan, scaling{rs, 0})
		}
		if err := r.scaleAll(ctx, plan); err != nil {
			return err
		}
		return r.rolled(ctx)
	}
	for _, rs := range r.old {
		// A set counts its pods after they are gone: until then old and new ones would be seen together in the status.
		if rs.Status.Replicas > 0 || slices.ContainsFunc(podset.Controlled(r.c.pods, rs.UID), func(p *corev1.Pod) bool { return !podset.IsTerminal(p) }) {
			return r.rolled(ctx)
		}
	}
	if err := r.useNew(ctx, true); err != nil || r.new == nil {
		return err
	}
	if err := r.scaleAll(ctx, []scaling{{r.new, *r.d.Spec.Replicas}}); err != nil {
		return err
	}
	return r.rolled(ctx)
}

// rolled ends a step of a roll-out: old sets beyond the history are deleted when it is complete, and the status written.
func (r *rollout) rolled(ctx context.Context) error {
	if complete(r.d, &r.d.Status) {
		if err := r.forgetHistory(ctx); err != nil {
			return err
		}
	}
	return r.writeStatus(ctx)
}

func (r *rollout) scaleAll(ctx context.Context, plan []scaling) error {
	for _, s := range plan {
		if err := r.scale(ctx, s.set, s.to); err != nil {
			return err
		}
	}
	return nil
}

// scale sets a replica set's size and the annotations that say which size of the Deployment that belongs to.
func (r *rollout) scale(ctx context.Context, rs *appsv1.ReplicaSet, to int32) error {
	from := *rs.Spec.Replicas
	next := rs.DeepCopy()
	next.Spec.Replicas = &to
	if !annotateSize(next, r.d) && from == to {
		return nil
	}
	got, err := client.ReplicaSets.Update(ctx, r.c.client, next)
	if err != nil {
		return err
	}
	if from != to {
		r.c.events.Eventf(r.cached, corev1.EventTypeNormal, "ScalingReplicaSet", "Scaled %s replica set %s from %d to %d", direction(from, to), rs.Name, from, to)
	}
	r.replace(rs, got)
	return nil
}

func direction(from, to int32) string {
	if to > from {
		return "up"
	}
	return "down"
}

func (r *rollout) replace(was, is *appsv1.ReplicaSet) {
	if r.new != nil && r.new.UID == was.UID {
		r.new = is
	}
	for i := range r.old {
		if r.old[i].UID == was.UID {
			r.old[i] = is
		}
	}
}

// forgetHistory deletes the oldest empty replica sets beyond spec.revisionHistoryLimit.
func (r *rollout) forgetHistory(ctx context.Context) error {
	limit := ptr.Deref(r.d.Spec.RevisionHistoryLimit, math.MaxInt32)
	if limit == math.MaxInt32 {
		return nil
	}
	for _, rs := range surplus(r.old, int(limit)) {
		if rs.Status.Replicas != 0 || *rs.Spec.Replicas != 0 || rs.Generation > rs.Status.ObservedGeneration {
			continue
		}
		err := r.c.client.Delete(ctx, client.ReplicaSets.GVR, rs.Namespace, rs.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(rs.UID))})
		if err != nil && !gone(err) {
			return err
		}
	}
	return nil
}
