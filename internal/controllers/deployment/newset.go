package deployment

import (
	"context"
	"fmt"
	"maps"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/client"
)

// useNew brings the new replica set's annotations up to date and takes its revision over into the Deployment. Where
// there is none, it makes one if create says so; r.new stays nil when the namespace is ending.
func (r *rollout) useNew(ctx context.Context, create bool) error {
	if r.new == nil {
		if !create {
			return nil
		}
		if err := r.createNew(ctx); err != nil || r.new == nil {
			return err
		}
	} else if err := r.refreshNew(ctx); err != nil {
		return err
	}
	r.annotateRevision(r.new.Annotations[RevisionAnnotation])
	return nil
}

func (r *rollout) refreshNew(ctx context.Context) error {
	next := r.new.DeepCopy()
	changed := annotate(next, r.d, nextRevision(r.old))
	if next.Spec.MinReadySeconds != r.d.Spec.MinReadySeconds {
		next.Spec.MinReadySeconds = r.d.Spec.MinReadySeconds
		changed = true
	}
	if changed {
		got, err := client.ReplicaSets.Update(ctx, r.c.client, next)
		if err != nil {
			return err
		}
		r.replace(r.new, got)
	}
	if condition(&r.d.Status, appsv1.DeploymentProgressing) == nil && hasDeadline(r.d) {
		r.progress(corev1.ConditionTrue, reasonFound, fmt.Sprintf("Found new replica set %q", r.new.Name))
	}
	return nil
}

func (r *rollout) createNew(ctx context.Context) error {
	rs, err := r.draft()
	if err != nil {
		return err
	}
	got, err := client.ReplicaSets.Create(ctx, r.c.client, rs)
	switch {
	case apierrors.IsAlreadyExists(err):
		return r.nameTaken(ctx, rs)
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return nil
	case err != nil:
		msg := fmt.Sprintf("Failed to create new replica set %q: %v", rs.Name, err)
		r.c.events.Event(r.cached, corev1.EventTypeWarning, reasonCreateError, msg)
		if hasDeadline(r.d) {
			r.progress(corev1.ConditionFalse, reasonCreateError, msg)
			if e := r.put(ctx); e != nil {
				r.c.log.Warn("status not written", "namespace", r.d.Namespace, "deployment", r.d.Name, "error", e)
			}
		}
		return err
	}
	if n := *got.Spec.Replicas; n > 0 {
		r.c.events.Eventf(r.cached, corev1.EventTypeNormal, "ScalingReplicaSet", "Scaled up replica set %s from 0 to %d", got.Name, n)
	}
	r.new = got
	if hasDeadline(r.d) {
		r.progress(corev1.ConditionTrue, reasonCreated, fmt.Sprintf("Created new replica set %q", got.Name))
	}
	return nil
}

// draft is the replica set of the present template.
func (r *rollout) draft() (*appsv1.ReplicaSet, error) {
	hash, err := templateHash(&r.d.Spec.Template, r.d.Status.CollisionCount)
	if err != nil {
		return nil, err
	}
	template := r.d.Spec.Template.DeepCopy()
	template.Labels = with(template.Labels, appsv1.DefaultDeploymentUniqueLabelKey, hash)
	selector := r.d.Spec.Selector.DeepCopy()
	selector.MatchLabels = with(selector.MatchLabels, appsv1.DefaultDeploymentUniqueLabelKey, hash)
	size := rollUp(r.d, nil, r.old)
	rs := &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:       r.d.Namespace,
			Name:            r.d.Name + "-" + hash,
			Labels:          maps.Clone(template.Labels),
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(r.d, kind)},
		},
		Spec: appsv1.ReplicaSetSpec{
			Replicas: &size, MinReadySeconds: r.d.Spec.MinReadySeconds, Selector: selector, Template: *template,
		},
	}
	annotate(rs, r.d, nextRevision(r.old))
	annotateSize(rs, r.d)
	return rs, nil
}

// nameTaken decides what to do when the new set's name exists: it may be ours, not yet in the cache. Otherwise two
// templates have one hash, and the next try uses another name.
func (r *rollout) nameTaken(ctx context.Context, draft *appsv1.ReplicaSet) error {
	got, err := client.ReplicaSets.Get(ctx, r.c.client, draft.Namespace, draft.Name)
	if err != nil {
		return err
	}
	if metav1.IsControlledBy(got, r.d) && sameTemplate(&got.Spec.Template, &r.d.Spec.Template) {
		r.new = got
		return r.refreshNew(ctx)
	}
	// Only who has seen the newest Deployment may count up, or one collision would count several times.
	fresh, err := client.Deployments.Get(ctx, r.c.client, r.d.Namespace, r.d.Name)
	if err != nil {
		return err
	}
	if fresh.ResourceVersion != r.cached.ResourceVersion {
		return fmt.Errorf("replica set %s exists already and the cache is behind", draft.Name)
	}
	count := int32(1)
	if r.d.Status.CollisionCount != nil {
		count = *r.d.Status.CollisionCount + 1
	}
	r.d.Status.CollisionCount = &count
	r.c.log.Info("hash collision, taking another name", "namespace", r.d.Namespace, "deployment", r.d.Name, "collisions", count)
	return r.put(ctx)
}

// annotateRevision notes the new set's revision on the Deployment; it is written with the status.
func (r *rollout) annotateRevision(rev string) {
	if _, err := strconv.ParseInt(rev, 10, 64); err != nil || r.d.Annotations[RevisionAnnotation] == rev {
		return
	}
	if r.d.Annotations == nil {
		r.d.Annotations = map[string]string{}
	}
	r.d.Annotations[RevisionAnnotation] = rev
}

func with(m map[string]string, k, v string) map[string]string {
	out := make(map[string]string, len(m)+1)
	maps.Copy(out, m)
	out[k] = v
	return out
}
