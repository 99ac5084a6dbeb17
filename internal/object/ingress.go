package object

import (
	"net/netip"
	"regexp"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func ingressKind() *Kind {
	return &Kind{
		Versions:      []Version{version[networkingv1.Ingress, networkingv1.IngressList](networkingv1.SchemeGroupVersion, "Ingress")},
		Resource:      "ingresses",
		Singular:      "ingress",
		ShortNames:    []string{"ing"},
		Scope:         Namespaced,
		StoragePrefix: "ingress",
		Strategy: rules[*networkingv1.Ingress]{
			PrepareCreate: func(i *networkingv1.Ingress) {
				i.Status = networkingv1.IngressStatus{}
				firstGeneration(i)
			},
			PrepareUpdate: func(i, old *networkingv1.Ingress) {
				i.Status = *old.Status.DeepCopy()
				nextGeneration(i, old, i.Spec, old.Spec)
			},
			Validate: validateIngress,
			Warnings: func(i, old *networkingv1.Ingress) []string {
				if _, set := i.Annotations[ingressClassAnnotation]; !set || old != nil {
					return nil
				}
				return []string{"annotation \"" + ingressClassAnnotation + "\" is deprecated, please use 'spec.ingressClassName' instead"}
			},
			ValidateCreate: func(i *networkingv1.Ingress) field.ErrorList {
				if c := i.Annotations[ingressClassAnnotation]; c != "" && i.Spec.IngressClassName != nil && *i.Spec.IngressClassName != c {
					return field.ErrorList{field.Invalid(field.NewPath("annotations").Child(ingressClassAnnotation), c,
						"must match `ingressClassName` when both are specified")}
				}
				return nil
			},
		}.full(Namespaced, nameIsSubdomain),
		Subresources: []Subresource{writes("status", rules[*networkingv1.Ingress]{
			PrepareUpdate: func(i, old *networkingv1.Ingress) { i.Spec = *old.Spec.DeepCopy() },
			ValidateUpdate: func(i, old *networkingv1.Ingress) field.ErrorList {
				return validateIngressStatus(&i.Status, &old.Status)
			},
		})},
		Columns: []metav1.TableColumnDefinition{
			nameColumn(),
			column("Class", "string", "The name of the IngressClass resource that should be used for additional configuration"),
			column("Hosts", "string", "Hosts that incoming requests are matched against before the ingress rule"),
			column("Address", "string", "Address is a list containing ingress points for the load-balancer"),
			column("Ports", "string", "Ports of TLS configurations that open"),
			ageColumn(),
		},
		Cells: cells(func(i *networkingv1.Ingress, now time.Time) []any {
			ports := "80"
			if len(i.Spec.TLS) > 0 {
				ports = "80, 443"
			}
			var addresses []string
			for _, in := range i.Status.LoadBalancer.Ingress {
				if in.IP != "" {
					addresses = append(addresses, in.IP)
				} else if in.Hostname != "" {
					addresses = append(addresses, in.Hostname)
				}
			}
			return []any{i.Name, orNone(deref(i.Spec.IngressClassName, "")), ingressHosts(i.Spec.Rules), strings.Join(addresses, ","), ports, age(i, now)}
		}),
	}
}

const ingressClassAnnotation = "kubernetes.io/ingress.class"

func ingressHosts(rules []networkingv1.IngressRule) string {
	const most = 3
	var hosts []string
	for _, r := range rules {
		if r.Host != "" {
			hosts = append(hosts, r.Host)
		}
	}
	if len(hosts) == 0 {
		return "*"
	}
	return joinMore(hosts, most)
}

func validateIngress(i *networkingv1.Ingress) field.ErrorList {
	var errs field.ErrorList
	s := &i.Spec
	if len(s.Rules) == 0 && s.DefaultBackend == nil {
		errs = append(errs, field.Invalid(specPath, s.Rules, "either `defaultBackend` or `rules` must be specified"))
	}
	if s.DefaultBackend != nil {
		errs = append(errs, validateIngressBackend(s.DefaultBackend, specPath.Child("defaultBackend"))...)
	}
	for n := range s.Rules {
		errs = append(errs, validateIngressRule(&s.Rules[n], specPath.Child("rules").Index(n))...)
	}
	for n, t := range s.TLS {
		for h, host := range t.Hosts {
			at := specPath.Child("tls").Index(n).Child("hosts").Index(h)
			if strings.Contains(host, "*") {
				errs = append(errs, check(at, host, validation.IsWildcardDNS1123Subdomain(host))...)
			} else {
				errs = append(errs, check(at, host, validation.IsDNS1123Subdomain(host))...)
			}
		}
		if t.SecretName != "" {
			errs = append(errs, check(specPath.Child("tls").Index(n).Child("secretName"), t.SecretName, nameIsSubdomain(t.SecretName, false))...)
		}
	}
	if c := s.IngressClassName; c != nil {
		errs = append(errs, check(specPath.Child("ingressClassName"), *c, nameIsSubdomain(*c, false))...)
	}
	return errs
}

func validateIngressRule(r *networkingv1.IngressRule, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if r.Host != "" {
		p := at.Child("host")
		if _, err := netip.ParseAddr(r.Host); err == nil {
			errs = append(errs, field.Invalid(p, r.Host, "must be a DNS name, not an IP address"))
		}
		if strings.Contains(r.Host, "*") {
			errs = append(errs, check(p, r.Host, validation.IsWildcardDNS1123Subdomain(r.Host))...)
		} else {
			errs = append(errs, check(p, r.Host, validation.IsDNS1123Subdomain(r.Host))...)
		}
	}
	if r.HTTP == nil {
		return errs
	}
	p := at.Child("http", "paths")
	if len(r.HTTP.Paths) == 0 {
		return append(errs, field.Required(p, ""))
	}
	for i := range r.HTTP.Paths {
		errs = append(errs, validateIngressPath(&r.HTTP.Paths[i], p.Index(i))...)
	}
	return errs
}

var (
	badPathSequences = []string{"//", "/./", "/../", "%2f", "%2F"}
	badPathEndings   = []string{"/..", "/."}
	pathCharacters   = regexp.MustCompile(`^[^\x00-\x20\x7f]*$`)
)

func validateIngressPath(h *networkingv1.HTTPIngressPath, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	p := at.Child("path")
	if h.PathType == nil {
		return append(errs, field.Required(at.Child("pathType"), "pathType must be specified"))
	}
	switch *h.PathType {
	case networkingv1.PathTypeExact, networkingv1.PathTypePrefix:
		if !strings.HasPrefix(h.Path, "/") {
			errs = append(errs, field.Invalid(p, h.Path, "must be an absolute path"))
		}
		for _, bad := range badPathSequences {
			if strings.Contains(h.Path, bad) {
				errs = append(errs, field.Invalid(p, h.Path, "must not contain '"+bad+"'"))
			}
		}
		for _, bad := range badPathEndings {
			if strings.HasSuffix(h.Path, bad) {
				errs = append(errs, field.Invalid(p, h.Path, "cannot end with '"+bad+"'"))
			}
		}
	case networkingv1.PathTypeImplementationSpecific:
		if h.Path != "" && !strings.HasPrefix(h.Path, "/") {
			errs = append(errs, field.Invalid(p, h.Path, "must be an absolute path"))
		}
	default:
		errs = append(errs, field.NotSupported(at.Child("pathType"), *h.PathType, []networkingv1.PathType{
			networkingv1.PathTypeExact, networkingv1.PathTypeImplementationSpecific, networkingv1.PathTypePrefix}))
	}
	if !pathCharacters.MatchString(h.Path) {
		errs = append(errs, field.Invalid(p, h.Path, "must not contain spaces or control characters"))
	}
	return append(errs, validateIngressBackend(&h.Backend, at.Child("backend"))...)
}

func validateIngressBackend(b *networkingv1.IngressBackend, at *field.Path) field.ErrorList {
	switch {
	case b.Resource != nil && b.Service != nil:
		return field.ErrorList{field.Invalid(at, "", "cannot set both resource and service backends")}
	case b.Resource != nil:
		return validateTypedReference(b.Resource, at.Child("resource"))
	case b.Service == nil:
		return field.ErrorList{field.Invalid(at, "", "resource or service backend is required")}
	}
	var errs field.ErrorList
	s, p := b.Service, at.Child("service")
	if s.Name == "" {
		errs = append(errs, field.Required(p.Child("name"), ""))
	} else {
		errs = append(errs, check(p.Child("name"), s.Name, nameIsLabel(s.Name, false))...)
	}
	switch {
	case s.Port.Name != "" && s.Port.Number != 0:
		errs = append(errs, field.Invalid(at, "", "cannot set both port name & port number"))
	case s.Port.Name != "":
		errs = append(errs, check(p.Child("port", "name"), s.Port.Name, validation.IsValidPortName(s.Port.Name))...)
	case s.Port.Number != 0:
		errs = append(errs, check(p.Child("port", "number"), s.Port.Number, validation.IsValidPortNum(int(s.Port.Number)))...)
	default:
		errs = append(errs, field.Required(at, "port name or number is required"))
	}
	return errs
}

func validateTypedReference(r *corev1.TypedLocalObjectReference, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if r.APIGroup != nil {
		errs = append(errs, check(at.Child("apiGroup"), *r.APIGroup, validation.IsDNS1123Subdomain(*r.APIGroup))...)
	}
	for _, f := range []struct{ name, value string }{{"kind", r.Kind}, {"name", r.Name}} {
		if f.value == "" {
			errs = append(errs, field.Required(at.Child(f.name), ""))
		} else {
			errs = append(errs, check(at.Child(f.name), f.value, nameIsSegment(f.value, false))...)
		}
	}
	return errs
}

func validateIngressStatus(s, old *networkingv1.IngressStatus) field.ErrorList {
	var errs field.ErrorList
	var known []string // addresses from before they were judged strictly
	for _, in := range old.LoadBalancer.Ingress {
		known = append(known, in.IP)
	}
	for i, in := range s.LoadBalancer.Ingress {
		at := statusPath.Child("loadBalancer", "ingress").Index(i)
		if in.IP != "" {
			errs = append(errs, validation.IsValidIPForLegacyField(at.Child("ip"), in.IP, true, known)...)
		}
		if in.Hostname != "" {
			errs = append(errs, check(at.Child("hostname"), in.Hostname, validation.IsDNS1123Subdomain(in.Hostname))...)
			if _, err := netip.ParseAddr(in.Hostname); err == nil {
				errs = append(errs, field.Invalid(at.Child("hostname"), in.Hostname, "must be a DNS name, not an IP address"))
			}
		}
	}
	return errs
}
