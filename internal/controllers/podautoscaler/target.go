package podautoscaler

import (
	"context"
	"errors"
	"fmt"
	"sync"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"hyperkube/internal/client"
)

// kinds remembers which resource a kind is.
type kinds struct {
	mu    sync.Mutex
	known map[schema.GroupKind]client.GVR
}

func (k *kinds) resource(ctx context.Context, c client.Interface, gk schema.GroupKind) (client.GVR, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if r, ok := k.known[gk]; ok {
		return r, nil
	}
	all, err := c.Resources(ctx)
	if len(all) == 0 && err != nil {
		return client.GVR{}, err
	}
	k.known = map[schema.GroupKind]client.GVR{}
	for _, r := range all {
		k.known[schema.GroupKind{Group: r.Group, Kind: r.Kind}] = client.GVR{Group: r.Group, Version: r.Version, Resource: r.Name}
	}
	if r, ok := k.known[gk]; ok {
		return r, nil
	}
	return client.GVR{}, fmt.Errorf("no matches for kind %q in group %q", gk.Kind, gk.Group)
}

// target reads the scale of what is to be scaled.
func (p *pass) target(ctx context.Context) error {
	ref := p.hpa.Spec.ScaleTargetRef
	gv, err := schema.ParseGroupVersion(ref.APIVersion)
	if err != nil {
		return fmt.Errorf("invalid API version in scale target reference: %w", err)
	}
	if p.resource, err = p.c.kinds.resource(ctx, p.c.client, schema.GroupKind{Group: gv.Group, Kind: ref.Kind}); err != nil {
		return err
	}
	obj, err := p.c.client.Get(ctx, p.resource, p.hpa.Namespace, ref.Name, metav1.GetOptions{}, "scale")
	if err != nil {
		return err
	}
	scale, ok := obj.(*autoscalingv1.Scale)
	if !ok {
		return fmt.Errorf("the scale of %s is a %T", ref.Kind, obj)
	}
	p.scale = scale
	return nil
}

// selectPods finds the pods of the target.
func (p *pass) selectPods() error {
	text := p.scale.Status.Selector
	if text == "" {
		p.warn("SelectorRequired", "selector is required")
		p.set(autoscalingv2.ScalingActive, corev1.ConditionFalse, "InvalidSelector", "the HPA target's scale is missing a selector")
		return errors.New("selector is required")
	}
	s, err := labels.Parse(text)
	if err != nil {
		p.warn("InvalidSelector", "couldn't convert selector into a corresponding internal selector object: %v", err)
		p.set(autoscalingv2.ScalingActive, corev1.ConditionFalse, "InvalidSelector", "couldn't convert selector into a corresponding internal selector object: %v", err)
		return err
	}
	p.selector = s
	return nil
}

func (p *pass) pods() (out []*corev1.Pod) {
	for _, pod := range p.c.pods.InNamespace(p.hpa.Namespace) {
		if p.selector.Matches(labels.Set(pod.Labels)) {
			out = append(out, pod)
		}
	}
	return out
}
