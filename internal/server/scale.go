package server

import (
	"context"
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"hyperkube/internal/object"
	"hyperkube/internal/server/registry"
	"hyperkube/internal/server/request"
	"hyperkube/internal/store"
)

// scales is the row of what the subresource scale shows.
var scales = object.ScaleKind()

// scale reads the size of a workload, and with managed who manages it, which patches see and readers do not.
func (s *Server) scale(ctx context.Context, req *request.Request, t registry.Target, o metav1.GetOptions, managed bool) (object.Object, error) {
	e, err := s.registry.Get(ctx, t.Kind, object.Key{Namespace: req.Namespace, Name: req.Name}, o.ResourceVersion)
	if err != nil {
		return nil, err
	}
	out, err := scaleOf(t.Kind, e.Object())
	if err == nil && managed {
		out.ManagedFields, err = s.registry.Managers().OfScale(t.Kind, t.Version, e.Object().GetManagedFields())
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

// rescale writes the replicas of a Scale into its workload.
func (s *Server) rescale(ctx context.Context, req *request.Request, t registry.Target, body object.Object, o metav1.UpdateOptions) (object.Object, error) {
	in, ok := body.(*autoscalingv1.Scale)
	if !ok {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("expected input object type to be Scale, but %T", body))
	}
	if err := checkScale(req, in); err != nil {
		return nil, err
	}
	change := func(cur *store.Entry) (object.Object, error) {
		obj := cur.Object().DeepCopyObject().(object.Object)
		obj.SetResourceVersion(in.ResourceVersion)
		return obj, setReplicas(t.Kind, obj, in.Spec.Replicas)
	}
	res, err := s.registry.Update(ctx, req, t, object.Key{Namespace: req.Namespace, Name: req.Name}, change,
		registry.UpdateOptions{DryRun: registry.IsDryRun(o.DryRun), Options: &o, UID: string(in.UID), Manager: o.FieldManager, TrackAs: "scale"})
	if err != nil {
		return nil, err
	}
	return scaleOf(t.Kind, res.Object())
}

// applyScale merges what a manager wants of the size of a workload.
func (s *Server) applyScale(ctx context.Context, req *request.Request, t registry.Target, body *unstructured.Unstructured, o metav1.PatchOptions) (object.Object, error) {
	change := func(cur *store.Entry) (object.Object, error) {
		obj := cur.Object().DeepCopyObject().(object.Object)
		live, err := scaleOf(t.Kind, obj)
		if err != nil {
			return nil, err
		}
		next, managers, err := s.registry.Managers().Scale(t.Kind, t.Version, obj.GetManagedFields(), live, body, o.FieldManager, ptr.Deref(o.Force, false))
		if err != nil {
			return nil, err
		}
		if err := checkScale(req, next); err != nil {
			return nil, err
		}
		obj.SetManagedFields(managers)
		obj.SetResourceVersion(next.ResourceVersion)
		return obj, setReplicas(t.Kind, obj, next.Spec.Replicas)
	}
	res, err := s.registry.Update(ctx, req, t, object.Key{Namespace: req.Namespace, Name: req.Name}, change,
		registry.UpdateOptions{DryRun: registry.IsDryRun(o.DryRun), Options: &o, Applied: true})
	if err != nil {
		return nil, err
	}
	return scaleOf(t.Kind, res.Object())
}

func checkScale(req *request.Request, in *autoscalingv1.Scale) error {
	var errs field.ErrorList
	if in.Name != req.Name {
		return registry.ErrName(in.Name, req.Name)
	}
	if in.Namespace != "" && in.Namespace != req.Namespace {
		return apierrors.NewBadRequest("the namespace of the provided object does not match the namespace sent on the request")
	}
	if in.Spec.Replicas < 0 {
		errs = append(errs, field.Invalid(field.NewPath("spec", "replicas"), in.Spec.Replicas, "must be greater than or equal to 0"))
	}
	if len(errs) > 0 {
		return apierrors.NewInvalid(autoscalingv1.SchemeGroupVersion.WithKind("Scale").GroupKind(), in.Name, errs)
	}
	return nil
}

func setReplicas(k *object.Kind, obj object.Object, n int32) error {
	if u, ok := obj.(*unstructured.Unstructured); ok && k.Scale != nil {
		return unstructured.SetNestedField(u.Object, int64(n), k.Scale.SpecReplicas...)
	}
	p := replicasOf(obj)
	if p == nil {
		return fmt.Errorf("a %T has no scale", obj)
	}
	*p = &n
	return nil
}

// replicasOf is where a workload keeps its wanted size; nil for other kinds.
func replicasOf(obj object.Object) **int32 {
	switch w := obj.(type) {
	case *appsv1.Deployment:
		return &w.Spec.Replicas
	case *appsv1.ReplicaSet:
		return &w.Spec.Replicas
	case *appsv1.StatefulSet:
		return &w.Spec.Replicas
	case *corev1.ReplicationController:
		return &w.Spec.Replicas
	}
	return nil
}

// scaleOf shows the size of a workload.
func scaleOf(k *object.Kind, obj object.Object) (*autoscalingv1.Scale, error) {
	out := &autoscalingv1.Scale{ObjectMeta: metav1.ObjectMeta{
		Name: obj.GetName(), Namespace: obj.GetNamespace(), UID: obj.GetUID(),
		ResourceVersion: obj.GetResourceVersion(), CreationTimestamp: obj.GetCreationTimestamp(),
	}}
	out.SetGroupVersionKind(autoscalingv1.SchemeGroupVersion.WithKind("Scale"))
	if u, ok := obj.(*unstructured.Unstructured); ok && k.Scale != nil {
		return out, customScale(out, u, k.Scale)
	}
	p := replicasOf(obj)
	if p == nil {
		return nil, fmt.Errorf("a %T has no scale", obj)
	}
	if *p != nil {
		out.Spec.Replicas = **p
	}
	var selector *metav1.LabelSelector
	switch w := obj.(type) {
	case *appsv1.Deployment:
		out.Status.Replicas, selector = w.Status.Replicas, w.Spec.Selector
	case *appsv1.ReplicaSet:
		out.Status.Replicas, selector = w.Status.Replicas, w.Spec.Selector
	case *appsv1.StatefulSet:
		out.Status.Replicas, selector = w.Status.Replicas, w.Spec.Selector
	case *corev1.ReplicationController:
		out.Status.Replicas = w.Status.Replicas
		out.Status.Selector = labels.SelectorFromSet(w.Spec.Selector).String()
	}
	if selector != nil {
		s, err := metav1.LabelSelectorAsSelector(selector)
		if err != nil {
			return nil, err
		}
		out.Status.Selector = s.String()
	}
	return out, nil
}

// customScale reads the size of a custom resource.
func customScale(out *autoscalingv1.Scale, u *unstructured.Unstructured, p *object.ScalePaths) error {
	wanted, found, err := unstructured.NestedInt64(u.Object, p.SpecReplicas...)
	if err != nil {
		return apierrors.NewInternalError(err)
	}
	if !found {
		return apierrors.NewInternalError(fmt.Errorf("the spec replicas field %q does not exist in %s", "."+strings.Join(p.SpecReplicas, "."), u.GetName()))
	}
	there, _, err := unstructured.NestedInt64(u.Object, p.StatusReplicas...)
	if err != nil {
		return apierrors.NewInternalError(err)
	}
	out.Spec.Replicas, out.Status.Replicas = int32(wanted), int32(there)
	if len(p.Selector) > 0 {
		if out.Status.Selector, _, err = unstructured.NestedString(u.Object, p.Selector...); err != nil {
			return apierrors.NewInternalError(err)
		}
	}
	return nil
}
