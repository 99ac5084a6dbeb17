package object

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// validateService judges a service; old is nil for a new one. Where its addresses do not agree with one another, nothing else is judged:
// what is to be allocated depends on them.
func validateService(s, old *corev1.Service) field.ErrorList {
	known := addressesOf(old)
	errs := validateClusterIPs(s, known)
	if len(errs) > 0 && s.Spec.Type != corev1.ServiceTypeExternalName {
		return errs
	}
	if old != nil {
		errs = append(errs, validateServiceUpdate(s, old)...)
	}
	errs = append(errs, validateServiceType(s)...)
	errs = append(errs, validateServicePorts(s)...)
	errs = append(errs, metavalidation.ValidateLabels(s.Spec.Selector, specPath.Child("selector"))...)
	errs = append(errs, validateAffinity(s)...)
	errs = append(errs, validateBalancer(s, known)...)
	errs = append(errs, validateTrafficPolicies(s)...)
	for i, ip := range s.Spec.ExternalIPs {
		at := specPath.Child("externalIPs").Index(i)
		if bad := validation.IsValidIPForLegacyField(at, ip, true, known); len(bad) > 0 {
			errs = append(errs, bad...)
		} else {
			errs = append(errs, validateEndpointIP(ip, at)...)
		}
	}
	return errs
}

// addressesOf are the addresses and ranges of a service; those from before they were judged strictly may stay.
func addressesOf(s *corev1.Service) []string {
	if s == nil {
		return nil
	}
	known := slices.Concat(s.Spec.ClusterIPs, s.Spec.ExternalIPs, s.Spec.LoadBalancerSourceRanges)
	for _, in := range s.Status.LoadBalancer.Ingress {
		known = append(known, in.IP)
	}
	return known
}

// check turns complaints of apimachinery's validation functions into errors.
func check(at *field.Path, value any, complaints []string) field.ErrorList {
	var errs field.ErrorList
	for _, c := range complaints {
		errs = append(errs, field.Invalid(at, value, c))
	}
	return errs
}

// oneOf wants a value to be one of those listed.
func oneOf[T ~string](at *field.Path, value T, allowed ...T) field.ErrorList {
	if slices.Contains(allowed, value) {
		return nil
	}
	return field.ErrorList{field.NotSupported(at, value, allowed)}
}

// requiredOneOf is oneOf for a field that has to be set.
func requiredOneOf[T ~string](at *field.Path, value T, allowed ...T) field.ErrorList {
	if value == "" {
		return field.ErrorList{field.Required(at, "")}
	}
	return oneOf(at, value, allowed...)
}

func validateServiceType(s *corev1.Service) field.ErrorList {
	spec := &s.Spec
	errs := requiredOneOf(specPath.Child("type"), spec.Type, corev1.ServiceTypeClusterIP, corev1.ServiceTypeExternalName,
		corev1.ServiceTypeLoadBalancer, corev1.ServiceTypeNodePort)
	switch spec.Type {
	case corev1.ServiceTypeNodePort, corev1.ServiceTypeLoadBalancer:
		if headless(s) {
			errs = append(errs, field.Invalid(specPath.Child("clusterIPs").Index(0), corev1.ClusterIPNone,
				fmt.Sprintf("may not be set to 'None' for %s services", spec.Type)))
		}
	case corev1.ServiceTypeExternalName:
		at := specPath.Child("externalName")
		// A name with a trailing dot is a fully qualified one.
		if name := strings.TrimSuffix(spec.ExternalName, "."); name == "" {
			errs = append(errs, field.Required(at, ""))
		} else {
			errs = append(errs, check(at, spec.ExternalName, validation.IsDNS1123Subdomain(name))...)
		}
	}
	return errs
}

func validateServicePorts(s *corev1.Service) field.ErrorList {
	var errs field.ErrorList
	at := specPath.Child("ports")
	if len(s.Spec.Ports) == 0 && !headless(s) && s.Spec.Type != corev1.ServiceTypeExternalName {
		errs = append(errs, field.Required(at, ""))
	}
	names, ports, nodePorts := sets.Set[string]{}, sets.Set[portKey]{}, sets.Set[portKey]{}
	for i := range s.Spec.Ports {
		p, q := &s.Spec.Ports[i], at.Index(i)
		errs = append(errs, validateServicePort(p, len(s.Spec.Ports) > 1, names, q)...)
		if p.NodePort != 0 {
			if s.Spec.Type == corev1.ServiceTypeClusterIP {
				errs = append(errs, field.Forbidden(q.Child("nodePort"), fmt.Sprintf("may not be used when `type` is '%s'", s.Spec.Type)))
			}
			k := portKey{p.Protocol, p.NodePort}
			if nodePorts.Has(k) {
				errs = append(errs, field.Duplicate(q.Child("nodePort"), p.NodePort))
			}
			nodePorts.Insert(k)
		}
		k := portKey{p.Protocol, p.Port}
		if ports.Has(k) {
			errs = append(errs, field.Duplicate(q, duplicatePort{Protocol: p.Protocol, Port: p.Port}))
		}
		ports.Insert(k)
	}
	return errs
}

// duplicatePort is how clients are told of a port that comes twice.
type duplicatePort struct {
	Name        string
	Protocol    corev1.Protocol
	AppProtocol *string
	Port        int32
	TargetPort  int32
	NodePort    int32
}

func validateServicePort(p *corev1.ServicePort, named bool, names sets.Set[string], at *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch {
	case p.Name == "" && named:
		errs = append(errs, field.Required(at.Child("name"), ""))
	case p.Name != "":
		errs = append(errs, check(at.Child("name"), p.Name, validation.IsDNS1123Label(p.Name))...)
		if names.Has(p.Name) {
			errs = append(errs, field.Duplicate(at.Child("name"), p.Name))
		}
		names.Insert(p.Name)
	}
	errs = append(errs, check(at.Child("port"), p.Port, validation.IsValidPortNum(int(p.Port)))...)
	errs = append(errs, requiredOneOf(at.Child("protocol"), p.Protocol, corev1.ProtocolSCTP, corev1.ProtocolTCP, corev1.ProtocolUDP)...)
	if p.TargetPort.Type == intstr.Int {
		errs = append(errs, check(at.Child("targetPort"), p.TargetPort, validation.IsValidPortNum(p.TargetPort.IntValue()))...)
	} else {
		errs = append(errs, check(at.Child("targetPort"), p.TargetPort, validation.IsValidPortName(p.TargetPort.StrVal))...)
	}
	if a := p.AppProtocol; a != nil {
		errs = append(errs, check(at.Child("appProtocol"), *a, validation.IsQualifiedName(*a))...)
	}
	return errs
}

func validateAffinity(s *corev1.Service) field.ErrorList {
	errs := requiredOneOf(specPath.Child("sessionAffinity"), s.Spec.SessionAffinity, corev1.ServiceAffinityClientIP, corev1.ServiceAffinityNone)
	at, c := specPath.Child("sessionAffinityConfig"), s.Spec.SessionAffinityConfig
	switch s.Spec.SessionAffinity {
	case corev1.ServiceAffinityClientIP:
		const day = 86400
		if c == nil || c.ClientIP == nil || c.ClientIP.TimeoutSeconds == nil {
			errs = append(errs, field.Required(at, "when session affinity type is ClientIP"))
		} else if t := *c.ClientIP.TimeoutSeconds; t <= 0 || t > day {
			errs = append(errs, field.Invalid(at.Child("clientIP", "timeoutSeconds"), t, fmt.Sprintf("must be greater than 0 and less than %d", day)))
		}
	case corev1.ServiceAffinityNone:
		if c != nil {
			errs = append(errs, field.Forbidden(at, "must not be set when session affinity is None"))
		}
	}
	return errs
}

func validateClusterIPs(s *corev1.Service, known []string) field.ErrorList {
	spec := &s.Spec
	at := specPath.Child("clusterIPs")
	if spec.Type == corev1.ServiceTypeExternalName {
		var errs field.ErrorList
		for _, f := range []struct {
			name string
			set  bool
		}{
			{"clusterIPs", len(spec.ClusterIPs) > 0 || spec.ClusterIP != ""}, {"ipFamilies", len(spec.IPFamilies) > 0}, {"ipFamilyPolicy", spec.IPFamilyPolicy != nil},
		} {
			if f.set {
				errs = append(errs, field.Forbidden(specPath.Child(f.name), "may not be set for ExternalName services"))
			}
		}
		return errs
	}
	var errs field.ErrorList
	if first := append(slices.Clone(spec.ClusterIPs), "")[0]; spec.ClusterIP != first {
		switch {
		case spec.ClusterIP != "" && len(spec.ClusterIPs) == 0:
			errs = append(errs, field.Required(at, ""))
		case spec.ClusterIP == "":
			errs = append(errs, field.Invalid(at, spec.ClusterIPs, "must be empty when `clusterIP` is not specified"))
		default:
			errs = append(errs, field.Invalid(at, spec.ClusterIPs, "first value must match `clusterIP`"))
		}
	}
	if len(spec.ClusterIPs) > 2 {
		errs = append(errs, field.Invalid(at, spec.ClusterIPs, "may only hold up to 2 values"))
	}
	var families []bool
	for i, ip := range spec.ClusterIPs {
		if ip == corev1.ClusterIPNone {
			if i > 0 || len(spec.ClusterIPs) > 1 {
				errs = append(errs, field.Invalid(at.Index(i), ip, "'None' must be the first and only value"))
			}
			continue
		}
		if bad := validation.IsValidIPForLegacyField(at.Index(i), ip, true, known); len(bad) > 0 {
			errs = append(errs, bad...)
			continue
		}
		if a, err := netip.ParseAddr(ip); err == nil {
			families = append(families, a.Is6())
		}
	}
	if len(families) == 2 && families[0] == families[1] {
		errs = append(errs, field.Invalid(at, spec.ClusterIPs, "may specify no more than one IP for each IP family"))
	}
	errs = append(errs, validateIPFamilies(spec)...)
	if p := spec.IPFamilyPolicy; len(errs) == 0 && p != nil && *p == corev1.IPFamilyPolicySingleStack && (len(spec.IPFamilies) > 1 || len(spec.ClusterIPs) > 1) {
		errs = append(errs, field.Invalid(specPath.Child("ipFamilyPolicy"), *p, "must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified"))
	}
	return errs
}

func validateIPFamilies(spec *corev1.ServiceSpec) field.ErrorList {
	var errs field.ErrorList
	if p := spec.IPFamilyPolicy; p != nil {
		errs = append(errs, oneOf(specPath.Child("ipFamilyPolicy"), *p,
			corev1.IPFamilyPolicyPreferDualStack, corev1.IPFamilyPolicyRequireDualStack, corev1.IPFamilyPolicySingleStack)...)
	}
	at := specPath.Child("ipFamilies")
	seen := sets.Set[corev1.IPFamily]{}
	for i, f := range spec.IPFamilies {
		errs = append(errs, oneOf(at.Index(i), f, corev1.IPv4Protocol, corev1.IPv6Protocol)...)
		if seen.Has(f) {
			errs = append(errs, field.Duplicate(at.Index(i), f))
		}
		seen.Insert(f)
	}
	for i := range min(len(spec.IPFamilies), len(spec.ClusterIPs)) {
		a, err := netip.ParseAddr(spec.ClusterIPs[i])
		if err == nil && a.Is6() != (spec.IPFamilies[i] == corev1.IPv6Protocol) {
			errs = append(errs, field.Invalid(specPath.Child("clusterIPs").Index(i), spec.ClusterIPs[i],
				fmt.Sprintf("expected an %s value as indicated by `ipFamilies[%d]`", spec.IPFamilies[i], i)))
		}
	}
	return errs
}

func validateTrafficPolicies(s *corev1.Service) field.ErrorList {
	var errs field.ErrorList
	spec := &s.Spec
	at := specPath.Child("externalTrafficPolicy")
	switch {
	case !externallyAccessible(s) && spec.ExternalTrafficPolicy != "":
		errs = append(errs, field.Invalid(at, spec.ExternalTrafficPolicy, "may only be set for externally-accessible services"))
	case externallyAccessible(s):
		errs = append(errs, requiredOneOf(at, spec.ExternalTrafficPolicy,
			corev1.ServiceExternalTrafficPolicyCluster, corev1.ServiceExternalTrafficPolicyLocal)...)
	}
	at = specPath.Child("healthCheckNodePort")
	switch {
	case spec.HealthCheckNodePort == 0:
	case !needsHealthCheckPort(s):
		errs = append(errs, field.Invalid(at, spec.HealthCheckNodePort, "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"))
	default:
		errs = append(errs, check(at, spec.HealthCheckNodePort, validation.IsValidPortNum(int(spec.HealthCheckNodePort)))...)
	}
	at = specPath.Child("internalTrafficPolicy")
	if p := spec.InternalTrafficPolicy; p != nil {
		errs = append(errs, oneOf(at, *p, corev1.ServiceInternalTrafficPolicyCluster, corev1.ServiceInternalTrafficPolicyLocal)...)
	} else if needsClusterIP(s) {
		errs = append(errs, field.Required(at, ""))
	}
	if d := spec.TrafficDistribution; d != nil {
		errs = append(errs, oneOf(specPath.Child("trafficDistribution"), *d, corev1.ServiceTrafficDistributionPreferClose,
			corev1.ServiceTrafficDistributionPreferSameZone, corev1.ServiceTrafficDistributionPreferSameNode)...)
	}
	return errs
}

func validateBalancer(s *corev1.Service, known []string) field.ErrorList {
	const only = "may only be used when `type` is 'LoadBalancer'"
	var errs field.ErrorList
	spec := &s.Spec
	if len(spec.LoadBalancerSourceRanges) > 0 && !balanced(s) {
		errs = append(errs, field.Forbidden(specPath.Child("LoadBalancerSourceRanges"), only))
	}
	for i, cidr := range spec.LoadBalancerSourceRanges {
		if !slices.Contains(known, cidr) {
			errs = append(errs, validation.IsValidCIDRForLegacyField(specPath.Child("LoadBalancerSourceRanges").Index(i), strings.TrimSpace(cidr), true, nil)...)
		}
	}
	at := specPath.Child("allocateLoadBalancerNodePorts")
	if balanced(s) && spec.AllocateLoadBalancerNodePorts == nil {
		errs = append(errs, field.Required(at, ""))
	} else if !balanced(s) && spec.AllocateLoadBalancerNodePorts != nil {
		errs = append(errs, field.Forbidden(at, only))
	}
	if c := spec.LoadBalancerClass; c != nil {
		at := specPath.Child("loadBalancerClass")
		if balanced(s) {
			errs = append(errs, check(at, *c, validation.IsQualifiedName(*c))...)
		} else {
			errs = append(errs, field.Forbidden(at, only))
		}
	}
	return errs
}

func validateServiceUpdate(s, old *corev1.Service) field.ErrorList {
	var errs field.ErrorList
	at := specPath.Child("clusterIPs")
	if needsClusterIP(s) && needsClusterIP(old) {
		for i := range min(len(s.Spec.ClusterIPs), len(old.Spec.ClusterIPs)) {
			if s.Spec.ClusterIPs[i] != old.Spec.ClusterIPs[i] && old.Spec.ClusterIPs[i] != "" {
				errs = append(errs, field.Invalid(at.Index(i), s.Spec.ClusterIPs, "may not change once set"))
			}
		}
		if len(s.Spec.ClusterIPs) == 0 && len(old.Spec.ClusterIPs) > 0 {
			errs = append(errs, field.Invalid(at.Index(0), s.Spec.ClusterIPs, "primary clusterIP can not be unset"))
		}
		if len(s.Spec.IPFamilies) > 0 && len(old.Spec.IPFamilies) > 0 && s.Spec.IPFamilies[0] != old.Spec.IPFamilies[0] {
			errs = append(errs, field.Invalid(specPath.Child("ipFamilies").Index(0), s.Spec.IPFamilies[0], "primary ipFamily can not be changed"))
		}
	}
	if balanced(s) && balanced(old) && !same(s.Spec.LoadBalancerClass, old.Spec.LoadBalancerClass) {
		errs = append(errs, field.Invalid(specPath.Child("loadBalancerClass"), s.Spec.LoadBalancerClass, "may not change once set"))
	}
	if needsHealthCheckPort(s) && needsHealthCheckPort(old) && s.Spec.HealthCheckNodePort != old.Spec.HealthCheckNodePort {
		errs = append(errs, field.Forbidden(specPath.Child("healthCheckNodePort"), "field is immutable"))
	}
	return errs
}

func serviceWarnings(s, _ *corev1.Service) []string {
	var out []string
	if len(s.Spec.ExternalIPs) > 0 && !headless(s) && s.Spec.Type != corev1.ServiceTypeExternalName {
		out = append(out, "spec.externalIPs is deprecated and may no longer be implemented in some clusters")
	}
	for i, ip := range s.Spec.ExternalIPs {
		out = append(out, validation.GetWarningsForIP(specPath.Child("externalIPs").Index(i), ip)...)
	}
	if headless(s) && len(s.Spec.ExternalIPs) > 0 {
		out = append(out, "spec.externalIPs is ignored for headless services")
	}
	if s.Spec.ExternalName != "" && s.Spec.Type != corev1.ServiceTypeExternalName {
		out = append(out, `spec.externalName is ignored when spec.type is not "ExternalName"`)
	}
	if d := s.Spec.TrafficDistribution; d != nil && *d == corev1.ServiceTrafficDistributionPreferClose {
		out = append(out, `spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"`)
	}
	if headless(s) && s.Spec.SessionAffinity != corev1.ServiceAffinityNone {
		out = append(out, "spec.SessionAffinity is ignored for headless services")
	}
	return out
}
