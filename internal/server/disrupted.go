package server

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/object"
	"hyperkube/internal/server/registry"
	"hyperkube/internal/store"
)

// tellDisrupted writes into an evicted pod's status why it is going to end (KEP-3329), in one transaction with the check that it still
// is the pod that o allows to evict. The deletion that follows is of the version written, which o then names.
func (s *Server) tellDisrupted(ctx context.Context, t registry.Target, key object.Key, o *metav1.DeleteOptions) error {
	res, err := s.registry.Write(ctx, t, key, func(cur *store.Entry) (object.Object, error) {
		pod, ok := cur.Object().(*corev1.Pod)
		if !ok {
			return nil, fmt.Errorf("unexpected object: %T", cur.Object())
		}
		if err := preconditionsHold(t, pod, o.Preconditions); err != nil {
			return nil, err
		}
		out := pod.DeepCopy()
		markDisrupted(out)
		return out, nil
	}, registry.UpdateOptions{})
	if err != nil {
		return err
	}
	if p := o.Preconditions; p != nil && p.ResourceVersion != nil {
		rv := res.Object().GetResourceVersion()
		o.Preconditions = &metav1.Preconditions{UID: p.UID, ResourceVersion: &rv}
	}
	return nil
}

func markDisrupted(p *corev1.Pod) {
	next := corev1.PodCondition{
		Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: "EvictionByEvictionAPI", Message: "Eviction API: evicting",
		LastTransitionTime: metav1.Now(), ObservedGeneration: p.Generation,
	}
	for i := range p.Status.Conditions {
		c := &p.Status.Conditions[i]
		if c.Type != next.Type {
			continue
		}
		if c.Status == next.Status {
			next.LastTransitionTime = c.LastTransitionTime
		}
		*c = next
		return
	}
	p.Status.Conditions = append(p.Status.Conditions, next)
}
