package object

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func validateServiceStatus(s, old *corev1.Service) field.ErrorList {
	return validateBalancerStatus(&s.Status.LoadBalancer, balanced(s), addressesOf(old), statusPath.Child("loadBalancer"))
}

func validateBalancerStatus(b *corev1.LoadBalancerStatus, balanced bool, known []string, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	at = at.Child("ingress")
	if len(b.Ingress) > 0 && !balanced {
		return field.ErrorList{field.Forbidden(at, "may only be used when `spec.type` is LoadBalancer")}
	}
	for i, in := range b.Ingress {
		p := at.Index(i)
		if in.IP != "" {
			errs = append(errs, validation.IsValidIPForLegacyField(p.Child("ip"), in.IP, true, known)...)
		}
		if in.IPMode != nil {
			errs = append(errs, oneOf(p.Child("ipMode"), *in.IPMode, corev1.LoadBalancerIPModeProxy, corev1.LoadBalancerIPModeVIP)...)
			if in.IP == "" {
				errs = append(errs, field.Forbidden(p.Child("ipMode"), "may not be specified when `ip` is not set"))
			}
		}
		if in.Hostname != "" {
			errs = append(errs, check(p.Child("hostname"), in.Hostname, validation.IsDNS1123Subdomain(in.Hostname))...)
			if _, err := netip.ParseAddr(in.Hostname); err == nil {
				errs = append(errs, field.Invalid(p.Child("hostname"), in.Hostname, "must be a DNS name, not an IP address"))
			}
		}
	}
	return errs
}
