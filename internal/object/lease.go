package object

import (
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func leaseKind() *Kind {
	return &Kind{
		Versions:       []Version{version[coordinationv1.Lease, coordinationv1.LeaseList](coordinationv1.SchemeGroupVersion, "Lease")},
		Resource:       "leases",
		Singular:       "lease",
		Scope:          Namespaced,
		StoragePrefix:  "leases",
		CreateOnUpdate: true,
		Strategy: rules[*coordinationv1.Lease]{
			PrepareCreate: func(l *coordinationv1.Lease) { withoutElection(l, &coordinationv1.Lease{}) },
			PrepareUpdate: withoutElection,
			Validate:      validateLease,
		}.full(Namespaced, nameIsSubdomain),
		Columns: []metav1.TableColumnDefinition{
			nameColumn(),
			column("Holder", "string", doc(coordinationv1.LeaseSpec{}.SwaggerDoc())["holderIdentity"]),
			ageColumn(),
		},
		Cells: cells(func(l *coordinationv1.Lease, now time.Time) []any {
			return []any{l.Name, deref(l.Spec.HolderIdentity, ""), age(l, now)}
		}),
	}
}

// withoutElection leaves out what only coordinated leader election (KEP-4355) uses, a beta that is off, unless it is there already.
func withoutElection(l, old *coordinationv1.Lease) {
	if old.Spec.Strategy == nil {
		l.Spec.Strategy = nil
	}
	if old.Spec.PreferredHolder == nil {
		l.Spec.PreferredHolder = nil
	}
}

func validateLease(l *coordinationv1.Lease) field.ErrorList {
	var errs field.ErrorList
	if d := l.Spec.LeaseDurationSeconds; d != nil && *d <= 0 {
		errs = append(errs, field.Invalid(specPath.Child("leaseDurationSeconds"), *d, "must be greater than 0"))
	}
	if n := l.Spec.LeaseTransitions; n != nil && *n < 0 {
		errs = append(errs, field.Invalid(specPath.Child("leaseTransitions"), *n, "must be greater than or equal to 0"))
	}
	if s := l.Spec.Strategy; s != nil {
		errs = append(errs, check(specPath.Child("strategy"), *s, nameIsQualified(string(*s)))...)
	}
	if p := l.Spec.PreferredHolder; p != nil && *p != "" && l.Spec.Strategy == nil {
		errs = append(errs, field.Forbidden(specPath.Child("preferredHolder"), "may only be specified when `strategy` is defined"))
	}
	return errs
}
