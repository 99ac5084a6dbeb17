package server

import (
	"context"

	resourcev1 "k8s.io/api/resource/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"hyperkube/internal/client"
	"hyperkube/internal/object"
)

// adminAccess refuses new claims, and templates of claims, that want devices in use by others, unless an administrator has labelled
// the namespace for that (KEP-5018). What a claim asks for cannot change later.
func (s *Server) adminAccess(ctx context.Context, obj, old object.Object, _ bool) (commit, rollback func(), err error) {
	if old != nil {
		return nil, nil, nil
	}
	kind := "ResourceClaim"
	var spec *resourcev1.ResourceClaimSpec
	switch c := obj.(type) {
	case *resourcev1.ResourceClaim:
		spec = &c.Spec
	case *resourcev1.ResourceClaimTemplate:
		kind, spec = "ResourceClaimTemplate", &c.Spec.Spec
	default:
		return nil, nil, nil
	}
	asked := object.AsksAdminAccess(spec)
	if len(asked) == 0 {
		return nil, nil, nil
	}
	ns, err := client.Namespaces.Get(ctx, s.Direct(loopback()), "", obj.GetNamespace())
	if err != nil {
		return nil, nil, err
	}
	if ns.Labels[resourcev1.DRAAdminNamespaceLabelKey] == "true" {
		return nil, nil, nil
	}
	var errs field.ErrorList
	for _, i := range asked {
		errs = append(errs, field.Forbidden(field.NewPath("spec", "devices", "requests").Index(i).Child("adminAccess"),
			"admin access to devices requires the `resource.kubernetes.io/admin-access: true` label on the containing namespace"))
	}
	return nil, nil, apierrors.NewInvalid(resourcev1.SchemeGroupVersion.WithKind(kind).GroupKind(), obj.GetName(), errs)
}
