package policies

import (
	"context"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	upstream "k8s.io/apiserver/pkg/admission"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/matchconditions"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"hyperkube/internal/client"
	"hyperkube/internal/object"
	"hyperkube/internal/object/codec"
	"hyperkube/internal/server/admission"
)

// input is a write as expressions see it.
type input struct {
	attributes *upstream.VersionedAttributes
	request    *admissionv1.AdmissionRequest
	namespace  *corev1.Namespace
	authorizer authorizer.UnconditionalAuthorizer
	version    *object.Version
}

func newInput(ctx context.Context, api client.Interface, may authorizer.UnconditionalAuthorizer, a *admission.Attributes, v *object.Version) (*input, error) {
	gvk, gvr := a.GVK, a.GVR
	if a.Subresource == "" || gvk == a.GVR.GroupVersion().WithKind(versionOf(a).Kind) {
		gvk, gvr = v.GroupVersion.WithKind(v.Kind), v.GroupVersion.WithResource(a.Row.Resource)
	}
	in := func(obj object.Object) (runtime.Object, error) {
		if obj == nil {
			return nil, nil
		}
		if got := obj.GetObjectKind().GroupVersionKind(); v.FromHub != nil && (got.Empty() || got == a.Row.GroupVersionKind()) {
			var err error
			if obj, err = v.FromHub(obj); err != nil {
				return nil, err
			}
		}
		return codec.WithKind(obj, gvk), nil
	}
	obj, err := in(a.Object)
	if err != nil {
		return nil, err
	}
	old, err := in(a.OldObject)
	if err != nil {
		return nil, err
	}
	if a.Operation == admission.Connect {
		obj = a.Options
	}
	ns, err := namespaceOf(ctx, api, a)
	if err != nil {
		return nil, err
	}
	record := upstream.NewAttributesRecord(obj, old, a.GVK, a.Namespace, nameOf(a), a.GVR, a.Subresource, upstream.Operation(a.Operation), a.Options, a.DryRun, a.User)
	i := &input{
		attributes: &upstream.VersionedAttributes{Attributes: record, VersionedKind: gvk, VersionedObject: upstream.NewLazyObject(obj), VersionedOldObject: upstream.NewLazyObject(old)},
		authorizer: may, version: v,
	}
	i.request = plugincel.CreateAdmissionRequest(record, metav1.GroupVersionResource(gvr), metav1.GroupVersionKind(gvk))
	if ns != nil {
		i.namespace = plugincel.CreateNamespaceObject(ns)
	}
	return i, nil
}

func (i *input) bindings(param runtime.Object) plugincel.OptionalVariableBindings {
	return plugincel.OptionalVariableBindings{VersionedParams: param, Authorizer: i.authorizer}
}

// passes asks the match conditions of a policy.
func (i *input) passes(ctx context.Context, m matchconditions.Matcher, param runtime.Object) (bool, error) {
	if m == nil {
		return true, nil
	}
	r := m.Match(ctx, i.attributes, param, i.authorizer)
	return r.Matches, r.Error
}
