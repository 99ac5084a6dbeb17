package object

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	utilnet "k8s.io/utils/net"
)

func endpointsKind() *Kind {
	return &Kind{
		Versions:       []Version{version[corev1.Endpoints, corev1.EndpointsList](corev1.SchemeGroupVersion, "Endpoints")},
		Resource:       "endpoints",
		Singular:       "endpoints",
		ShortNames:     []string{"ep"},
		Deprecated:     "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
		Scope:          Namespaced,
		StoragePrefix:  "services/endpoints",
		CreateOnUpdate: true,
		Strategy: rules[*corev1.Endpoints]{
			Default: func(e *corev1.Endpoints) {
				for i := range e.Subsets {
					for j := range e.Subsets[i].Ports {
						if p := &e.Subsets[i].Ports[j]; p.Protocol == "" {
							p.Protocol = corev1.ProtocolTCP
						}
					}
				}
			},
			Compare: validateEndpoints,
		}.full(Namespaced, nameIsSubdomain),
		Columns: []metav1.TableColumnDefinition{
			nameColumn(),
			column("Endpoints", "string", doc(corev1.Endpoints{}.SwaggerDoc())["subsets"]),
			ageColumn(),
		},
		Cells: cells(func(e *corev1.Endpoints, now time.Time) []any {
			return []any{e.Name, endpointsText(e), age(e, now)}
		}),
	}
}

func endpointsText(e *corev1.Endpoints) string {
	var all []string
	for _, s := range e.Subsets {
		for _, a := range s.Addresses {
			if len(s.Ports) == 0 {
				all = append(all, a.IP)
			}
			for _, p := range s.Ports {
				all = append(all, net.JoinHostPort(a.IP, strconv.Itoa(int(p.Port))))
			}
		}
	}
	return orNone(joinMore(all, 3))
}

func validateEndpoints(e, old *corev1.Endpoints) field.ErrorList {
	var errs field.ErrorList
	var known []string // addresses from before they were judged strictly
	if old != nil {
		for _, s := range old.Subsets {
			for _, a := range slices.Concat(s.Addresses, s.NotReadyAddresses) {
				known = append(known, a.IP)
			}
		}
	}
	for i := range e.Subsets {
		s, at := &e.Subsets[i], field.NewPath("subsets").Index(i)
		if len(s.Addresses)+len(s.NotReadyAddresses) == 0 {
			errs = append(errs, field.Required(at, "must specify `addresses` or `notReadyAddresses`"))
		}
		for j := range s.Addresses {
			errs = append(errs, validateEndpointAddress(&s.Addresses[j], known, at.Child("addresses").Index(j))...)
		}
		for j := range s.NotReadyAddresses {
			errs = append(errs, validateEndpointAddress(&s.NotReadyAddresses[j], known, at.Child("notReadyAddresses").Index(j))...)
		}
		for j, p := range s.Ports {
			q := at.Child("ports").Index(j)
			if len(s.Ports) > 1 && p.Name == "" {
				errs = append(errs, field.Required(q.Child("name"), ""))
			} else if p.Name != "" {
				errs = append(errs, check(q.Child("name"), p.Name, validation.IsDNS1123Label(p.Name))...)
			}
			errs = append(errs, check(q.Child("port"), p.Port, validation.IsValidPortNum(int(p.Port)))...)
			errs = append(errs, requiredOneOf(q.Child("protocol"), p.Protocol, corev1.ProtocolSCTP, corev1.ProtocolTCP, corev1.ProtocolUDP)...)
			if a := p.AppProtocol; a != nil {
				errs = append(errs, check(q.Child("appProtocol"), *a, validation.IsQualifiedName(*a))...)
			}
		}
	}
	return errs
}

func validateEndpointAddress(a *corev1.EndpointAddress, known []string, at *field.Path) field.ErrorList {
	errs := validation.IsValidIPForLegacyField(at.Child("ip"), a.IP, true, known)
	errs = append(errs, validateEndpointIP(a.IP, at.Child("ip"))...)
	if a.Hostname != "" {
		errs = append(errs, check(at.Child("hostname"), a.Hostname, validation.IsDNS1123Label(a.Hostname))...)
	}
	if n := a.NodeName; n != nil {
		errs = append(errs, check(at.Child("nodeName"), *n, nameIsSubdomain(*n, false))...)
	}
	return errs
}

// validateEndpointIP wants an address that traffic may be sent to: no unspecified, loopback, link-local
// or multicast one.
func validateEndpointIP(ip string, at *field.Path) field.ErrorList {
	a, ok := netip.AddrFromSlice(utilnet.ParseIPSloppy(ip))
	if !ok {
		return field.ErrorList{field.Invalid(at, ip, "must be a valid IP address")}
	}
	a = a.Unmap()
	switch {
	case a.IsUnspecified():
		return field.ErrorList{field.Invalid(at, ip, "may not be unspecified (0.0.0.0)")}
	case a.IsLoopback():
		return field.ErrorList{field.Invalid(at, ip, "may not be in the loopback range (127.0.0.0/8, ::1/128)")}
	case a.IsLinkLocalUnicast():
		return field.ErrorList{field.Invalid(at, ip, "may not be in the link-local range (169.254.0.0/16, fe80::/10)")}
	case a.IsLinkLocalMulticast():
		return field.ErrorList{field.Invalid(at, ip, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)")}
	}
	return nil
}
