package deployment

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/client"
	"hyperkube/internal/object"
)

// Reasons of the conditions, upstream's.
const (
	reasonUpdated     = "ReplicaSetUpdated"
	reasonCreated     = "NewReplicaSetCreated"
	reasonCreateError = "ReplicaSetCreateError"
	reasonFound       = "FoundNewReplicaSet"
	reasonAvailable   = "NewReplicaSetAvailable"
	reasonTimedOut    = "ProgressDeadlineExceeded"
	reasonPaused      = "DeploymentPaused"
	reasonResumed     = "DeploymentResumed"
	reasonMinimum     = "MinimumReplicasAvailable"
	reasonNoMinimum   = "MinimumReplicasUnavailable"
)

// writeStatus works the status out and writes it, with the annotations, where that differs from what is there.
func (r *rollout) writeStatus(ctx context.Context) error {
	old := r.cached.Status
	next := summary(r.d, r.new, r.old)
	setCondition(&next, minimum(r.d, &next), r.now)
	r.judge(&old, &next)
	moveFailure(&next, r.new, r.old, r.now)
	r.d.Status = next
	if err := r.put(ctx); err != nil {
		return err
	}
	r.wakeForDeadline()
	return nil
}

// put writes status and annotations if they differ.
func (r *rollout) put(ctx context.Context) error {
	if apiequality.Semantic.DeepEqual(r.cached.Status, r.d.Status) && apiequality.Semantic.DeepEqual(r.cached.Annotations, r.d.Annotations) {
		return nil
	}
	got, err := client.Deployments.UpdateStatus(ctx, r.c.client, r.d)
	if err != nil {
		if gone(err) {
			return nil
		}
		return err
	}
	r.d = got.DeepCopy()
	return nil
}

// summary counts what the replica sets report; conditions and collisions are d's.
func summary(d *appsv1.Deployment, new *appsv1.ReplicaSet, old []*appsv1.ReplicaSet) appsv1.DeploymentStatus {
	s := appsv1.DeploymentStatus{
		ObservedGeneration: d.Generation,
		CollisionCount:     d.Status.CollisionCount,
		Conditions:         slices.Clone(d.Status.Conditions),
	}
	terminating, known := int32(0), true
	sets := slices.Clone(old)
	if new != nil {
		sets = append(sets, new)
		s.UpdatedReplicas = new.Status.Replicas
	}
	for _, rs := range sets {
		s.Replicas += rs.Status.Replicas
		s.ReadyReplicas += rs.Status.ReadyReplicas
		s.AvailableReplicas += rs.Status.AvailableReplicas
		if rs.Status.TerminatingReplicas == nil {
			known = false
			continue
		}
		terminating += *rs.Status.TerminatingReplicas
	}
	s.UnavailableReplicas = max(wanted(sets...)-s.AvailableReplicas, 0)
	if known {
		s.TerminatingReplicas = &terminating
	}
	return s
}

func minimum(d *appsv1.Deployment, s *appsv1.DeploymentStatus) appsv1.DeploymentCondition {
	_, unavailable := fenceposts(d)
	if s.AvailableReplicas >= *d.Spec.Replicas-unavailable {
		return appsv1.DeploymentCondition{Type: appsv1.DeploymentAvailable, Status: corev1.ConditionTrue, Reason: reasonMinimum, Message: "Deployment has minimum availability."}
	}
	return appsv1.DeploymentCondition{Type: appsv1.DeploymentAvailable, Status: corev1.ConditionFalse, Reason: reasonNoMinimum, Message: "Deployment does not have minimum availability."}
}

// judge keeps the condition Progressing.
func (r *rollout) judge(old, next *appsv1.DeploymentStatus) {
	if !hasDeadline(r.d) {
		removeCondition(next, appsv1.DeploymentProgressing)
		return
	}
	cur := condition(next, appsv1.DeploymentProgressing)
	if r.d.Spec.Paused || r.d.DeletionTimestamp != nil ||
		(next.Replicas == next.UpdatedReplicas && cur != nil && cur.Reason == reasonAvailable) {
		return
	}
	what := fmt.Sprintf("Deployment %q", r.d.Name)
	if r.new != nil {
		what = fmt.Sprintf("ReplicaSet %q", r.new.Name)
	}
	c := appsv1.DeploymentCondition{Type: appsv1.DeploymentProgressing, Status: corev1.ConditionTrue}
	switch {
	case complete(r.d, next):
		c.Reason, c.Message = reasonAvailable, what+" has successfully progressed."
		setCondition(next, c, r.now)
	case progressing(old, next):
		c.Reason, c.Message = reasonUpdated, what+" is progressing."
		c.LastUpdateTime, c.LastTransitionTime = metav1.NewTime(r.now), metav1.NewTime(r.now)
		if cur != nil && cur.Status == corev1.ConditionTrue {
			c.LastTransitionTime = cur.LastTransitionTime
		}
		removeCondition(next, c.Type)
		next.Conditions = append(next.Conditions, c)
	case timedOut(r.d, next, r.now):
		c.Status, c.Reason, c.Message = corev1.ConditionFalse, reasonTimedOut, what+" has timed out progressing."
		setCondition(next, c, r.now)
	}
}

// progress sets the condition Progressing in r.d's status.
func (r *rollout) progress(status corev1.ConditionStatus, reason, message string) {
	setCondition(&r.d.Status, appsv1.DeploymentCondition{Type: appsv1.DeploymentProgressing, Status: status, Reason: reason, Message: message}, r.now)
}

// notePause tells in the condition Progressing that the roll-out was paused or resumed, so that the time of a pause
// does not count against the deadline.
func (r *rollout) notePause() {
	if !hasDeadline(r.d) {
		return
	}
	cur := condition(&r.d.Status, appsv1.DeploymentProgressing)
	if cur != nil && cur.Reason == reasonTimedOut {
		return
	}
	paused := cur != nil && cur.Reason == reasonPaused
	switch {
	case r.d.Spec.Paused && !paused:
		r.progress(corev1.ConditionUnknown, reasonPaused, "Deployment is paused")
	case !r.d.Spec.Paused && paused:
		r.progress(corev1.ConditionUnknown, reasonResumed, "Deployment is resumed")
	}
}

// wakeForDeadline comes back when the deadline will have passed.
func (r *rollout) wakeForDeadline() {
	cur := condition(&r.d.Status, appsv1.DeploymentProgressing)
	if !hasDeadline(r.d) || r.d.Spec.Paused || cur == nil || cur.Reason == reasonTimedOut || complete(r.d, &r.d.Status) {
		return
	}
	at := cur.LastUpdateTime.Add(time.Duration(*r.d.Spec.ProgressDeadlineSeconds) * time.Second)
	r.c.queue.AddAfter(object.KeyOf(r.d), max(at.Sub(r.now), 0)+time.Second)
}

func hasDeadline(d *appsv1.Deployment) bool {
	return d.Spec.ProgressDeadlineSeconds != nil && *d.Spec.ProgressDeadlineSeconds != math.MaxInt32
}

func complete(d *appsv1.Deployment, s *appsv1.DeploymentStatus) bool {
	n := *d.Spec.Replicas
	return s.UpdatedReplicas == n && s.Replicas == n && s.AvailableReplicas == n && s.ObservedGeneration >= d.Generation
}

func progressing(old, next *appsv1.DeploymentStatus) bool {
	return next.UpdatedReplicas > old.UpdatedReplicas ||
		next.Replicas-next.UpdatedReplicas < old.Replicas-old.UpdatedReplicas ||
		next.ReadyReplicas > old.ReadyReplicas || next.AvailableReplicas > old.AvailableReplicas
}

func timedOut(d *appsv1.Deployment, s *appsv1.DeploymentStatus, now time.Time) bool {
	cur := condition(s, appsv1.DeploymentProgressing)
	if cur == nil || cur.Reason == reasonAvailable {
		return false
	}
	if cur.Reason == reasonTimedOut {
		return true
	}
	return cur.LastUpdateTime.Add(time.Duration(*d.Spec.ProgressDeadlineSeconds) * time.Second).Before(now)
}

// moveFailure takes the condition ReplicaFailure over from the replica sets, the new one's first.
func moveFailure(s *appsv1.DeploymentStatus, new *appsv1.ReplicaSet, old []*appsv1.ReplicaSet, now time.Time) {
	sets := slices.Clone(old)
	if new != nil {
		sets = append([]*appsv1.ReplicaSet{new}, sets...)
	}
	for _, rs := range sets {
		for _, c := range rs.Status.Conditions {
			if c.Type == appsv1.ReplicaSetReplicaFailure {
				setCondition(s, appsv1.DeploymentCondition{
					Type: appsv1.DeploymentReplicaFailure, Status: c.Status, Reason: c.Reason, Message: c.Message,
				}, now)
				return
			}
		}
	}
	removeCondition(s, appsv1.DeploymentReplicaFailure)
}

func condition(s *appsv1.DeploymentStatus, t appsv1.DeploymentConditionType) *appsv1.DeploymentCondition {
	for i := range s.Conditions {
		if s.Conditions[i].Type == t {
			return &s.Conditions[i]
		}
	}
	return nil
}

// setCondition changes a condition when its status or reason differ. The time of transition moves with the status only.
func setCondition(s *appsv1.DeploymentStatus, c appsv1.DeploymentCondition, now time.Time) {
	cur := condition(s, c.Type)
	if cur != nil && cur.Status == c.Status && cur.Reason == c.Reason {
		return
	}
	c.LastUpdateTime, c.LastTransitionTime = metav1.NewTime(now), metav1.NewTime(now)
	if cur != nil && cur.Status == c.Status {
		c.LastTransitionTime = cur.LastTransitionTime
	}
	removeCondition(s, c.Type)
	s.Conditions = append(s.Conditions, c)
}

func removeCondition(s *appsv1.DeploymentStatus, t appsv1.DeploymentConditionType) {
	s.Conditions = slices.DeleteFunc(slices.Clone(s.Conditions), func(c appsv1.DeploymentCondition) bool { return c.Type == t })
}

func gone(err error) bool { return apierrors.IsNotFound(err) }
