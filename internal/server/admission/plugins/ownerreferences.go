package plugins

import (
	"context"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/utils/ptr"

	"hyperkube/internal/object"
	"hyperkube/internal/server/admission"
	"hyperkube/internal/server/authz"
)

// ownerReferences lets only those change who owns an object who could delete it as well, since the garbage collector deletes
// by owners, and only those keep an owner from going who may write its finalizers.
type ownerReferences struct {
	az    authz.Decider
	table *object.Table
}

func (*ownerReferences) Name() string { return "OwnerReferencesPermissionEnforcement" }

func (p *ownerReferences) Validate(ctx context.Context, a *admission.Attributes) error {
	if a.Object == nil || a.Subresource == "status" || a.Operation != admission.Create && a.Operation != admission.Update {
		return nil
	}
	now := a.Object.GetOwnerReferences()
	var was []metav1.OwnerReference
	if a.OldObject != nil {
		was = a.OldObject.GetOwnerReferences()
	}
	if equality.Semantic.DeepEqual(now, was) {
		return nil
	}
	// Whoever makes an object gives nothing away that was there.
	if a.Operation != admission.Create {
		if reason, err := p.may(ctx, a, authorizer.AttributesRecord{
			Verb: "delete", Namespace: a.Namespace, APIGroup: a.GVR.Group, APIVersion: a.GVR.Version, Resource: a.GVR.Resource,
			Subresource: a.Subresource, Name: a.Name,
		}); reason != nil {
			return admission.Forbidden(a, fmt.Sprintf("cannot set an ownerRef on a resource you can't delete: %v, %v", *reason, err))
		}
	}
	for _, ref := range blocking(now, was) {
		if err := p.mayBlock(ctx, a, ref); err != nil {
			return err
		}
	}
	return nil
}

// may gives the reason why not; nil: the user may.
func (p *ownerReferences) may(ctx context.Context, a *admission.Attributes, r authorizer.AttributesRecord) (*string, error) {
	r.User, r.ResourceRequest = a.User, true
	d, reason, err := p.az.Authorize(ctx, r)
	if d == authorizer.DecisionAllow {
		return nil, nil
	}
	return &reason, err
}

// blocking are the references that newly keep their owner from going.
func blocking(now, was []metav1.OwnerReference) []metav1.OwnerReference {
	var out []metav1.OwnerReference
	for _, r := range now {
		blocks := func(x metav1.OwnerReference) bool { return ptr.Deref(x.BlockOwnerDeletion, false) }
		if blocks(r) && !slices.ContainsFunc(was, func(x metav1.OwnerReference) bool { return x.UID == r.UID && blocks(x) }) {
			out = append(out, r)
		}
	}
	return out
}

func (p *ownerReferences) mayBlock(ctx context.Context, a *admission.Attributes, ref metav1.OwnerReference) error {
	gv, err := schema.ParseGroupVersion(ref.APIVersion)
	if err != nil {
		return admission.Forbidden(a, fmt.Sprintf("cannot set blockOwnerDeletion in this case because cannot find RESTMapping for APIVersion %v Kind %v: %v", ref.APIVersion, ref.Kind, err))
	}
	k, v := p.table.Kind(gv.WithKind(ref.Kind))
	if k == nil || v == nil {
		return admission.Forbidden(a, fmt.Sprintf("cannot set blockOwnerDeletion in this case because cannot find RESTMapping for APIVersion %v Kind %v: no matches for kind %q in version %q", ref.APIVersion, ref.Kind, ref.Kind, ref.APIVersion))
	}
	r := authorizer.AttributesRecord{Verb: "update", APIGroup: gv.Group, APIVersion: gv.Version, Resource: k.Resource, Subresource: "finalizers", Name: ref.Name}
	if k.Scope == object.Namespaced {
		r.Namespace = a.Namespace
	}
	if reason, err := p.may(ctx, a, r); reason != nil {
		return admission.Forbidden(a, fmt.Sprintf("cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on: %v, %v", *reason, err))
	}
	return nil
}
