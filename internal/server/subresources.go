package server

import (
	"context"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"hyperkube/internal/object"
	"hyperkube/internal/server/registry"
	"hyperkube/internal/server/request"
	"hyperkube/internal/store"
)

// builtinSubresources adds the handlers that need nothing but the registry, where nobody plugged in others.
func (s *Server) builtinSubresources() {
	if s.parts.Subresources == nil {
		s.parts.Subresources = map[schema.GroupResource]map[string]SubresourceHandler{}
	}
	add := func(group, resource, sub string, h SubresourceHandler) {
		gr := schema.GroupResource{Group: group, Resource: resource}
		m := s.parts.Subresources[gr]
		if m == nil {
			m = map[string]SubresourceHandler{}
			s.parts.Subresources[gr] = m
		}
		if _, taken := m[sub]; !taken {
			m[sub] = h
		}
	}
	for _, r := range []string{"deployments", "replicasets", "statefulsets"} {
		add("apps", r, "scale", s.scaleHandler("apps", r))
	}
	add("", "replicationcontrollers", "scale", s.scaleHandler("", "replicationcontrollers"))
	binding := SubresourceHandler{New: func() object.Object { return &corev1.Binding{} }, Create: s.bindPod}
	add("", "pods", "binding", binding)
	add("", "bindings", "", binding)
	add("", "pods", "eviction", SubresourceHandler{New: func() object.Object { return &policyv1.Eviction{} }, Create: s.evictPod})
	add("", "namespaces", "finalize", SubresourceHandler{New: func() object.Object { return &corev1.Namespace{} }, Update: s.finalizeNamespace})
	add("", "componentstatuses", "", SubresourceHandler{Get: s.componentStatus, List: s.componentStatuses})
}

// row is the target of a resource in its hub version.
func (s *Server) row(group, version, resource string) (registry.Target, error) {
	k, v := s.cfg.Table.Resource(schema.GroupVersionResource{Group: group, Version: version, Resource: resource})
	if k == nil || v == nil {
		return registry.Target{}, errNoRow
	}
	return registry.Target{Kind: k, Version: v}, nil
}

// finalizeNamespace writes the finalizers of a namespace's spec; without any, a deleted namespace goes.
func (s *Server) finalizeNamespace(ctx context.Context, req *request.Request, body object.Object, o metav1.UpdateOptions) (object.Object, error) {
	in, ok := body.(*corev1.Namespace)
	if !ok {
		return nil, apierrors.NewBadRequest("the body is no Namespace")
	}
	t, err := s.row("", "v1", "namespaces")
	if err != nil {
		return nil, err
	}
	t.Sub = t.Kind.Subresource("finalize")
	if in.Name != req.Name {
		return nil, registry.ErrName(in.Name, req.Name)
	}
	change := func(cur *store.Entry) (object.Object, error) {
		ns := cur.Object().DeepCopyObject().(*corev1.Namespace)
		ns.Spec.Finalizers = in.Spec.Finalizers
		ns.Finalizers = in.Finalizers
		ns.ResourceVersion = in.ResourceVersion
		return ns, nil
	}
	res, err := s.registry.Update(ctx, req, t, object.Key{Name: req.Name}, change,
		registry.UpdateOptions{DryRun: registry.IsDryRun(o.DryRun), Options: &o, UID: string(in.UID), Manager: o.FieldManager})
	return res.Object(), err
}

// scaleHandler shows and changes the size of a workload.
func (s *Server) scaleHandler(group, resource string) SubresourceHandler {
	return SubresourceHandler{
		New: func() object.Object { return &autoscalingv1.Scale{} },
		Get: func(ctx context.Context, req *request.Request, o metav1.GetOptions) (object.Object, error) {
			t, err := s.row(group, req.APIVersion, resource)
			if err != nil {
				return nil, err
			}
			return s.scale(ctx, req, t, o, false)
		},
		Base: func(ctx context.Context, req *request.Request, o metav1.GetOptions) (object.Object, error) {
			t, err := s.row(group, req.APIVersion, resource)
			if err != nil {
				return nil, err
			}
			return s.scale(ctx, req, t, o, true)
		},
		Update: func(ctx context.Context, req *request.Request, body object.Object, o metav1.UpdateOptions) (object.Object, error) {
			t, err := s.row(group, req.APIVersion, resource)
			if err != nil {
				return nil, err
			}
			return s.rescale(ctx, req, t, body, o)
		},
		Apply: func(ctx context.Context, req *request.Request, body *unstructured.Unstructured, o metav1.PatchOptions) (object.Object, error) {
			t, err := s.row(group, req.APIVersion, resource)
			if err != nil {
				return nil, err
			}
			return s.applyScale(ctx, req, t, body, o)
		},
	}
}
