package plugins

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"hyperkube/internal/client"
	"hyperkube/internal/server/admission"
)

// priority turns the name of a pod's priority class into its number.
type priority struct {
	api     client.Interface
	classes *client.Informer[*schedulingv1.PriorityClass]
}

func newPriority(c *Config) *priority {
	return &priority{api: c.API, classes: client.InformerFor(c.Informers, client.PriorityClasses)}
}

func (*priority) Name() string { return "Priority" }

func (p *priority) Mutate(ctx context.Context, a *admission.Attributes) error {
	pod, ok := a.Object.(*corev1.Pod)
	if !ok || !a.Is("", "pods", "") {
		return nil
	}
	if a.Operation == admission.Update {
		// Clients that do not know the fields leave them out.
		if old, ok := a.OldObject.(*corev1.Pod); ok {
			if pod.Spec.Priority == nil {
				pod.Spec.Priority = old.Spec.Priority
			}
			if pod.Spec.PreemptionPolicy == nil {
				pod.Spec.PreemptionPolicy = old.Spec.PreemptionPolicy
			}
		}
		return nil
	}
	if a.Operation != admission.Create {
		return nil
	}
	class, err := p.classOf(ctx, a, pod)
	if err != nil {
		return err
	}
	value, policy := int32(0), corev1.PreemptLowerPriority
	if class != nil {
		pod.Spec.PriorityClassName, value = class.Name, class.Value
		if class.PreemptionPolicy != nil {
			policy = *class.PreemptionPolicy
		}
	}
	if have := pod.Spec.Priority; have != nil && *have != value {
		return admission.Forbidden(a, fmt.Sprintf("the integer value of priority (%d) must not be provided in pod spec; priority admission controller computed %d from the given PriorityClass name", *have, value))
	}
	pod.Spec.Priority = &value
	if have := pod.Spec.PreemptionPolicy; have != nil && *have != policy {
		return admission.Forbidden(a, fmt.Sprintf("the string value of PreemptionPolicy (%s) must not be provided in pod spec; priority admission controller computed %s from the given PriorityClass name", *have, policy))
	}
	pod.Spec.PreemptionPolicy = &policy
	return nil
}

// classOf is the class that a pod names, or else the default one; nil when there is no default.
func (p *priority) classOf(ctx context.Context, a *admission.Attributes, pod *corev1.Pod) (*schedulingv1.PriorityClass, error) {
	name := pod.Spec.PriorityClassName
	if name == "" {
		return p.defaultClass(), nil
	}
	if c, ok := p.classes.Get("", name); ok {
		return c, nil
	}
	c, err := client.PriorityClasses.Get(ctx, p.api, "", name)
	if apierrors.IsNotFound(err) {
		return nil, admission.Forbidden(a, fmt.Sprintf("no PriorityClass with name %v was found", name))
	}
	return c, err
}

// defaultClass is the default of the lowest value: there may be two for a moment.
func (p *priority) defaultClass() *schedulingv1.PriorityClass {
	var found *schedulingv1.PriorityClass
	for _, c := range p.classes.List() {
		if c.GlobalDefault && (found == nil || c.Value < found.Value) {
			found = c
		}
	}
	return found
}

func (p *priority) Validate(_ context.Context, a *admission.Attributes) error {
	class, ok := a.Object.(*schedulingv1.PriorityClass)
	if !ok || a.Subresource != "" || !class.GlobalDefault {
		return nil
	}
	if d := p.defaultClass(); d != nil && d.Name != class.Name {
		return admission.Forbidden(a, fmt.Sprintf("PriorityClass %v is already marked as default. Only one default can exist", d.Name))
	}
	return nil
}
