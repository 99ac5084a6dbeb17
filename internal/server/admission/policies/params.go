package policies

import (
	"context"
	"fmt"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"hyperkube/internal/client"
	"hyperkube/internal/object"
	"hyperkube/internal/object/codec"
	"hyperkube/internal/server/admission"
)

// params reads the parameter objects of a binding. A policy without parameters is evaluated once, with none; a binding whose
// objects are not there is not evaluated at all, or an error, as it says itself.
func params(ctx context.Context, api client.Interface, t *object.Table, a *admission.Attributes, kind *admissionregistrationv1.ParamKind, ref *admissionregistrationv1.ParamRef) ([]runtime.Object, error) {
	if kind == nil {
		return []runtime.Object{nil}, nil
	}
	if ref == nil {
		return []runtime.Object{nil}, nil
	}
	gv, err := schema.ParseGroupVersion(kind.APIVersion)
	if err != nil {
		return nil, err
	}
	k, v := t.Kind(gv.WithKind(kind.Kind))
	if k == nil || v == nil {
		return nil, fmt.Errorf("failed to find resource referenced by paramKind: '%v'", gv.WithKind(kind.Kind))
	}
	namespace := ref.Namespace
	switch {
	case k.Scope == object.Cluster && namespace != "":
		return nil, fmt.Errorf("paramRef.namespace must not be provided for a cluster-scoped `paramKind`")
	case k.Scope == object.Namespaced && namespace == "":
		if namespace = a.Namespace; namespace == "" {
			return nil, fmt.Errorf("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources")
		}
	}
	found, err := lookUp(ctx, api, v.GroupVersion.WithResource(k.Resource), namespace, ref)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		if ref.ParameterNotFoundAction != nil && *ref.ParameterNotFoundAction == admissionregistrationv1.AllowAction {
			return nil, nil
		}
		return nil, fmt.Errorf("no params found for policy binding with `Deny` parameterNotFoundAction")
	}
	out := make([]runtime.Object, len(found))
	for i, o := range found {
		out[i] = codec.WithKind(o, v.GroupVersion.WithKind(v.Kind))
	}
	return out, nil
}

func lookUp(ctx context.Context, api client.Interface, r client.GVR, namespace string, ref *admissionregistrationv1.ParamRef) ([]client.Object, error) {
	if ref.Selector == nil {
		obj, err := api.Get(ctx, r, namespace, ref.Name, metav1.GetOptions{ResourceVersion: "0"})
		if apierrors.IsNotFound(err) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		return []client.Object{obj}, nil
	}
	sel, err := metav1.LabelSelectorAsSelector(ref.Selector)
	if err != nil {
		return nil, err
	}
	l, err := api.List(ctx, r, namespace, metav1.ListOptions{LabelSelector: sel.String(), ResourceVersion: "0"})
	if err != nil {
		return nil, err
	}
	return l.Items, nil
}
