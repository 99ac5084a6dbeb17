package server

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"hyperkube/internal/object"
	"hyperkube/internal/server/registry"
	"hyperkube/internal/server/request"
	"hyperkube/internal/store"
)

// bindPod assigns a pod to a node. The body's metadata may ask for the pod's uid and version, and brings
// annotations for it.
func (s *Server) bindPod(ctx context.Context, req *request.Request, body object.Object, o metav1.CreateOptions) (object.Object, error) {
	b, ok := body.(*corev1.Binding)
	if !ok {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("not a Binding object: %T", body))
	}
	name := req.Name
	if name == "" {
		name = b.Name
	}
	if b.Name != name {
		return nil, apierrors.NewBadRequest("name in URL does not match name in Binding object")
	}
	if err := checkBinding(b); err != nil {
		return nil, err
	}
	if name == "" {
		return nil, apierrors.NewBadRequest("Name parameter required.")
	}
	t, err := s.row("", "v1", "pods")
	if err != nil {
		return nil, err
	}
	// The pod is written by the server itself: admission has judged the binding.
	change := func(cur *store.Entry) (object.Object, error) {
		old, ok := cur.Object().(*corev1.Pod)
		if !ok {
			return nil, fmt.Errorf("unexpected object: %T", cur.Object())
		}
		return boundPod(old, b)
	}
	_, err = s.registry.Write(ctx, t, object.Key{Namespace: req.Namespace, Name: name}, change,
		registry.UpdateOptions{DryRun: registry.IsDryRun(o.DryRun), UID: string(b.UID), ResourceVersion: b.ResourceVersion})
	if err != nil {
		return nil, err
	}
	return nil, nil
}

func checkBinding(b *corev1.Binding) error {
	var errs field.ErrorList
	path := field.NewPath("target")
	if b.Target.Kind != "" && b.Target.Kind != "Node" {
		errs = append(errs, field.NotSupported(path.Child("kind"), b.Target.Kind, []string{"Node", "<empty>"}))
	}
	if b.Target.Name == "" {
		errs = append(errs, field.Required(path.Child("name"), ""))
	}
	if len(errs) > 0 {
		return errs.ToAggregate() // no error of the API: a 500
	}
	return nil
}

func boundPod(old *corev1.Pod, b *corev1.Binding) (object.Object, error) {
	refuse := func(text string) error {
		return apierrors.NewConflict(corev1.Resource("pods/binding"), old.Name, fmt.Errorf("%s", text))
	}
	switch {
	case old.DeletionTimestamp != nil:
		return nil, refuse(fmt.Sprintf("pod %s is being deleted, cannot be assigned to a host", old.Name))
	case old.Spec.NodeName != "":
		return nil, refuse(fmt.Sprintf("pod %s is already assigned to node %q", old.Name, old.Spec.NodeName))
	case len(old.Spec.SchedulingGates) > 0:
		return nil, refuse(fmt.Sprintf("pod %s has non-empty .spec.schedulingGates", old.Name))
	}
	pod := old.DeepCopy()
	pod.Spec.NodeName = b.Target.Name
	for k, v := range b.Annotations {
		if pod.Annotations == nil {
			pod.Annotations = map[string]string{}
		}
		pod.Annotations[k] = v
	}
	for k, v := range b.Labels {
		if pod.Labels == nil {
			pod.Labels = map[string]string{}
		}
		pod.Labels[k] = v
	}
	setPodCondition(pod, corev1.PodCondition{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now(),
		ObservedGeneration: observedGeneration(old)})
	return pod, nil
}

func observedGeneration(p *corev1.Pod) int64 {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled {
			return max(c.ObservedGeneration, 0)
		}
	}
	return 0
}

// setPodCondition puts a condition in; its time stays when the status did not change.
func setPodCondition(p *corev1.Pod, c corev1.PodCondition) {
	for i := range p.Status.Conditions {
		if old := &p.Status.Conditions[i]; old.Type == c.Type {
			if old.Status == c.Status {
				c.LastTransitionTime = old.LastTransitionTime
			}
			*old = c
			return
		}
	}
	p.Status.Conditions = append(p.Status.Conditions, c)
}
