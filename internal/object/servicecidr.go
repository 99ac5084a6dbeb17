package object

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"hyperkube/internal/object/goform"
)

func serviceCIDRKind() *Kind {
	return &Kind{
		Versions: []Version{version[networkingv1.ServiceCIDR, networkingv1.ServiceCIDRList](
			networkingv1.SchemeGroupVersion, "ServiceCIDR")},
		Resource:      "servicecidrs",
		Singular:      "servicecidr",
		Scope:         Cluster,
		StoragePrefix: "servicecidrs",
		Strategy: rules[*networkingv1.ServiceCIDR]{
			PrepareCreate:  func(s *networkingv1.ServiceCIDR) { s.Status = networkingv1.ServiceCIDRStatus{} },
			PrepareUpdate:  func(s, old *networkingv1.ServiceCIDR) { s.Status = *old.Status.DeepCopy() },
			ValidateCreate: validateServiceCIDR,
			ValidateUpdate: func(s, old *networkingv1.ServiceCIDR) field.ErrorList {
				// A second family may be added, nothing else changes.
				if n := len(old.Spec.CIDRs); n == 1 && len(s.Spec.CIDRs) == 2 && s.Spec.CIDRs[0] == old.Spec.CIDRs[0] {
					return validateServiceCIDR(s)
				}
				if slices.Equal(s.Spec.CIDRs, old.Spec.CIDRs) {
					return nil
				}
				for i, c := range s.Spec.CIDRs {
					if len(s.Spec.CIDRs) == len(old.Spec.CIDRs) && c != old.Spec.CIDRs[i] {
						return field.ErrorList{field.Invalid(specPath.Child("cidrs").Index(i), c, "field is immutable")}
					}
				}
				return field.ErrorList{field.Invalid(specPath.Child("cidrs"), s.Spec.CIDRs, "field is immutable")}
			},
		}.full(Cluster, nameIsSubdomain),
		Subresources: []Subresource{writes("status", rules[*networkingv1.ServiceCIDR]{
			PrepareUpdate: func(s, old *networkingv1.ServiceCIDR) {
				s.Spec = *old.Spec.DeepCopy()
				metav1.ResetObjectMetaForStatus(s, old)
			},
		})},
		Columns: []metav1.TableColumnDefinition{
			nameColumn(),
			column("CIDRs", "string", doc(networkingv1.ServiceCIDRSpec{}.SwaggerDoc())["cidrs"]),
			ageColumn(),
		},
		Cells: cells(func(s *networkingv1.ServiceCIDR, now time.Time) []any {
			return []any{s.Name, strings.Join(s.Spec.CIDRs, ","), age(s, now)}
		}),
	}
}

func validateServiceCIDR(s *networkingv1.ServiceCIDR) field.ErrorList {
	at := specPath.Child("cidrs")
	switch n := len(s.Spec.CIDRs); {
	case n == 0:
		return field.ErrorList{field.Required(at, "at least one CIDR required")}
	case n > 2:
		return field.ErrorList{field.Invalid(at, goform.Of(s.Spec), "may only hold up to 2 values")}
	}
	var errs field.ErrorList
	for i, c := range s.Spec.CIDRs {
		errs = append(errs, validation.IsValidCIDR(at.Index(i), c)...)
	}
	if len(errs) == 0 && len(s.Spec.CIDRs) == 2 {
		a, err1 := netip.ParsePrefix(s.Spec.CIDRs[0])
		b, err2 := netip.ParsePrefix(s.Spec.CIDRs[1])
		if err1 == nil && err2 == nil && a.Addr().Is4() == b.Addr().Is4() {
			errs = append(errs, field.Invalid(at, s.Spec.CIDRs, "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"))
		}
	}
	return errs
}
