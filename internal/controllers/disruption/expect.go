package disruption

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"hyperkube/internal/client"
	"hyperkube/internal/controllers"
)

// want says how many pods of a budget there should be, and how many of them have to be healthy.
func (c *controller) want(ctx context.Context, b *policyv1.PodDisruptionBudget, pods []*corev1.Pod) (expected, desired int32, err error) {
	switch min, max := b.Spec.MinAvailable, b.Spec.MaxUnavailable; {
	case max != nil:
		if expected, err = c.scales.sum(ctx, pods); err != nil {
			return 0, 0, err
		}
		n, err := intstr.GetScaledValueFromIntOrPercent(max, int(expected), true)
		return expected, clamp(expected - int32(n)), err
	case min != nil && min.Type == intstr.Int:
		return int32(len(pods)), min.IntVal, nil
	case min != nil:
		if expected, err = c.scales.sum(ctx, pods); err != nil {
			return 0, 0, err
		}
		n, err := intstr.GetScaledValueFromIntOrPercent(min, int(expected), true)
		return expected, int32(n), err
	}
	return int32(len(pods)), 0, nil
}

func clamp(n int32) int32 { return max(0, n) }

// scales know how many pods workloads want.
type scales struct {
	client      client.Interface
	replicaSets *client.Informer[*appsv1.ReplicaSet]
	deployments *client.Informer[*appsv1.Deployment]
	sets        *client.Informer[*appsv1.StatefulSet]
	controllers *client.Informer[*corev1.ReplicationController]
}

func newScales(d controllers.Deps, c client.Interface, changed func(namespace string)) *scales {
	s := &scales{
		client: c, replicaSets: client.InformerFor(d.Informers, client.ReplicaSets), deployments: client.InformerFor(d.Informers, client.Deployments),
		sets: client.InformerFor(d.Informers, statefulSets), controllers: client.InformerFor(d.Informers, client.ReplicationControllers),
	}
	tell := func(old, new metav1.Object, was, is *int32) {
		if old == nil || new == nil || value(was) != value(is) {
			o := new
			if o == nil {
				o = old
			}
			changed(o.GetNamespace())
		}
	}
	s.deployments.OnChange(func(old, new *appsv1.Deployment) {
		tell(orNil(old), orNil(new), replicas(old, func(d *appsv1.Deployment) *int32 { return d.Spec.Replicas }), replicas(new, func(d *appsv1.Deployment) *int32 { return d.Spec.Replicas }))
	})
	s.replicaSets.OnChange(func(old, new *appsv1.ReplicaSet) {
		tell(orNil(old), orNil(new), replicas(old, func(d *appsv1.ReplicaSet) *int32 { return d.Spec.Replicas }), replicas(new, func(d *appsv1.ReplicaSet) *int32 { return d.Spec.Replicas }))
	})
	s.sets.OnChange(func(old, new *appsv1.StatefulSet) {
		tell(orNil(old), orNil(new), replicas(old, func(d *appsv1.StatefulSet) *int32 { return d.Spec.Replicas }), replicas(new, func(d *appsv1.StatefulSet) *int32 { return d.Spec.Replicas }))
	})
	s.controllers.OnChange(func(old, new *corev1.ReplicationController) {
		tell(orNil(old), orNil(new), replicas(old, func(d *corev1.ReplicationController) *int32 { return d.Spec.Replicas }), replicas(new, func(d *corev1.ReplicationController) *int32 { return d.Spec.Replicas }))
	})
	return s
}

func orNil[T any, P interface {
	*T
	metav1.Object
}](p P) metav1.Object {
	if p == nil {
		return nil
	}
	return p
}

func replicas[T any](p *T, of func(*T) *int32) *int32 {
	if p == nil {
		return nil
	}
	return of(p)
}

// value of a workload's replicas, 1 when it does not say.
func value(p *int32) int32 {
	if p == nil {
		return 1
	}
	return *p
}

// sum adds up what the workloads that own the pods want, each once. Pods without one count for nothing.
func (s *scales) sum(ctx context.Context, pods []*corev1.Pod) (int32, error) {
	wanted := map[types.UID]int32{}
	asked := map[types.UID]bool{}
	for _, p := range pods {
		owner := metav1.GetControllerOf(p)
		if owner == nil || asked[owner.UID] {
			continue
		}
		asked[owner.UID] = true
		uid, n, err := s.of(ctx, p.Namespace, owner)
		if err != nil {
			return 0, fmt.Errorf("pod %s: %w", p.Name, err)
		}
		if uid != "" {
			wanted[uid] = n
		}
	}
	var all int32
	for _, n := range wanted {
		all += n
	}
	return all, nil
}

// of gives the workload behind an owner, a deployment for its replica sets, and what it wants; no uid when it is gone.
func (s *scales) of(ctx context.Context, namespace string, owner *metav1.OwnerReference) (types.UID, int32, error) {
	gv, err := schema.ParseGroupVersion(owner.APIVersion)
	if err != nil {
		return "", 0, err
	}
	switch gk := gv.WithKind(owner.Kind).GroupKind(); gk {
	case schema.GroupKind{Kind: "ReplicationController"}:
		if rc, ok := s.controllers.Get(namespace, owner.Name); ok && rc.UID == owner.UID {
			return rc.UID, value(rc.Spec.Replicas), nil
		}
		return "", 0, nil
	case schema.GroupKind{Group: "apps", Kind: "StatefulSet"}:
		if set, ok := s.sets.Get(namespace, owner.Name); ok && set.UID == owner.UID {
			return set.UID, value(set.Spec.Replicas), nil
		}
		return "", 0, nil
	case schema.GroupKind{Group: "apps", Kind: "ReplicaSet"}:
		rs, ok := s.replicaSets.Get(namespace, owner.Name)
		if !ok || rs.UID != owner.UID {
			return "", 0, nil
		}
		if up := metav1.GetControllerOf(rs); up != nil && up.Kind == "Deployment" {
			if d, ok := s.deployments.Get(namespace, up.Name); ok && d.UID == up.UID {
				return d.UID, value(d.Spec.Replicas), nil
			}
			return "", 0, nil
		}
		return rs.UID, value(rs.Spec.Replicas), nil
	default:
		return s.other(ctx, namespace, owner, gk)
	}
}

// other asks the scale subresource of a workload of another kind.
func (s *scales) other(ctx context.Context, namespace string, owner *metav1.OwnerReference, gk schema.GroupKind) (types.UID, int32, error) {
	all, err := s.client.Resources(ctx)
	for _, r := range all {
		if r.Group != gk.Group || r.Kind != gk.Kind {
			continue
		}
		obj, err := s.client.Get(ctx, client.GVR{Group: r.Group, Version: r.Version, Resource: r.Name}, namespace, owner.Name, metav1.GetOptions{}, "scale")
		if apierrors.IsNotFound(err) {
			return "", 0, fmt.Errorf("%s does not implement the scale subresource", gk)
		}
		if err != nil {
			return "", 0, err
		}
		scale, ok := obj.(*autoscalingv1.Scale)
		if !ok {
			return "", 0, fmt.Errorf("the scale of %s is a %T", gk, obj)
		}
		return owner.UID, scale.Spec.Replicas, nil
	}
	if err != nil {
		return "", 0, err
	}
	return "", 0, fmt.Errorf("%s does not implement the scale subresource", gk)
}
