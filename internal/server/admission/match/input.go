package match

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

// Input is a write as expressions and webhooks see it.
type Input struct {
	Attributes *upstream.VersionedAttributes
	Request    *admissionv1.AdmissionRequest
	Namespace  *corev1.Namespace
	Authorizer authorizer.UnconditionalAuthorizer
	Version    *object.Version
}

// NewInput shows a write in a version.
func NewInput(ctx context.Context, api client.Interface, may authorizer.UnconditionalAuthorizer, a *admission.Attributes, v *object.Version) (*Input, error) {
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
		obj = codec.WithKind(a.Options, gvk)
	}
	ns, err := namespaceOf(ctx, api, a)
	if err != nil {
		return nil, err
	}
	record := upstream.NewAttributesRecord(obj, old, a.GVK, a.Namespace, nameOf(a), a.GVR, a.Subresource, upstream.Operation(a.Operation), a.Options, a.DryRun, a.User)
	i := &Input{
		Attributes: &upstream.VersionedAttributes{Attributes: record, VersionedKind: gvk, VersionedObject: upstream.NewLazyObject(obj), VersionedOldObject: upstream.NewLazyObject(old)},
		Authorizer: may, Version: v,
	}
	i.Request = plugincel.CreateAdmissionRequest(record, metav1.GroupVersionResource(gvr), metav1.GroupVersionKind(gvk))
	if ns != nil {
		i.Namespace = plugincel.CreateNamespaceObject(ns)
	}
	return i, nil
}

// Bindings of the optional variables.
func (i *Input) Bindings(param runtime.Object) plugincel.OptionalVariableBindings {
	return plugincel.OptionalVariableBindings{VersionedParams: param, Authorizer: i.Authorizer}
}

// Passes asks the match conditions of a policy.
func (i *Input) Passes(ctx context.Context, m matchconditions.Matcher, param runtime.Object) (bool, error) {
	if m == nil {
		return true, nil
	}
	r := m.Match(ctx, i.Attributes, param, i.Authorizer)
	return r.Matches, r.Error
}
