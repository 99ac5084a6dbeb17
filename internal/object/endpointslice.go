package object

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	utilnet "k8s.io/utils/net"
	"k8s.io/utils/ptr"
)

func endpointSliceKind() *Kind {
	d := doc(discoveryv1.EndpointSlice{}.SwaggerDoc())
	return &Kind{
		Versions: []Version{version[discoveryv1.EndpointSlice, discoveryv1.EndpointSliceList](
			discoveryv1.SchemeGroupVersion, "EndpointSlice")},
		Resource:      "endpointslices",
		Singular:      "endpointslice",
		Scope:         Namespaced,
		StoragePrefix: "endpointslices",
		Strategy: rules[*discoveryv1.EndpointSlice]{
			Default: func(s *discoveryv1.EndpointSlice) {
				for i := range s.Ports {
					p := &s.Ports[i]
					if p.Name == nil {
						p.Name = ptr.To("")
					}
					if p.Protocol == nil {
						p.Protocol = ptr.To(corev1.ProtocolTCP)
					}
				}
			},
			PrepareCreate: func(s *discoveryv1.EndpointSlice) {
				firstGeneration(s)
				for i := range s.Endpoints {
					s.Endpoints[i].DeprecatedTopology = nil // of the API before v1
				}
			},
			PrepareUpdate: func(s, old *discoveryv1.EndpointSlice) {
				s.Generation = old.Generation
				if !apiequality.Semantic.DeepEqual(s.Endpoints, old.Endpoints) || !apiequality.Semantic.DeepEqual(s.Ports, old.Ports) ||
					s.AddressType != old.AddressType || !apiequality.Semantic.DeepEqual(s.Labels, old.Labels) {
					s.Generation = old.Generation + 1
				}
				keepKnownTopology(s, old)
			},
			Compare: validateEndpointSlice,
			Warnings: func(s, _ *discoveryv1.EndpointSlice) []string {
				if s.AddressType == discoveryv1.AddressTypeFQDN {
					return []string{"spec.addressType: FQDN endpoints are deprecated"}
				}
				return nil
			},
			ValidateUpdate: func(s, old *discoveryv1.EndpointSlice) field.ErrorList {
				return unchanged(s.AddressType, old.AddressType, field.NewPath("addressType"))
			},
		}.full(Namespaced, nameIsSubdomain),
		Columns: []metav1.TableColumnDefinition{
			nameColumn(),
			column("AddressType", "string", d["addressType"]),
			column("Ports", "string", d["ports"]),
			column("Endpoints", "string", d["endpoints"]),
			ageColumn(),
		},
		Cells: cells(func(s *discoveryv1.EndpointSlice, now time.Time) []any {
			var ports []string
			for _, p := range s.Ports {
				switch {
				case p.Port != nil:
					ports = append(ports, strconv.Itoa(int(*p.Port)))
				case p.Name != nil && *p.Name != "":
					ports = append(ports, *p.Name)
				default:
					ports = append(ports, "*")
				}
			}
			text := "<unset>"
			if len(ports) > 0 {
				text = joinMore(ports, 3)
			}
			var addresses []string
			for _, e := range s.Endpoints {
				addresses = append(addresses, strings.Join(e.Addresses, ","))
			}
			endpoints := "<unset>"
			if len(addresses) > 0 {
				endpoints = joinMore(addresses, 3)
			}
			return []any{s.Name, string(s.AddressType), text, endpoints, age(s, now)}
		}),
	}
}

const (
	maxSliceEndpoints  = 1000
	maxSlicePorts      = 20000
	maxSliceAddresses  = 100
	maxZoneNameHints   = 8
	deprecatedTopology = 16
)

// keepKnownTopology: a topology that is there from before v1 may stay as it is; no other comes to a slice.
func keepKnownTopology(s, old *discoveryv1.EndpointSlice) {
	known := map[string]bool{}
	for i := range old.Endpoints {
		known[fmt.Sprint(old.Endpoints[i].DeprecatedTopology)] = true
	}
	for i := range s.Endpoints {
		if !known[fmt.Sprint(s.Endpoints[i].DeprecatedTopology)] {
			s.Endpoints[i].DeprecatedTopology = nil
		}
	}
}

func validateEndpointSlice(s, old *discoveryv1.EndpointSlice) field.ErrorList {
	known := sets.New[string]() // addresses that were there before stay as they are
	if old != nil {
		for _, e := range old.Endpoints {
			known.Insert(e.Addresses...)
		}
	}
	errs := requiredOneOf(field.NewPath("addressType"), s.AddressType,
		discoveryv1.AddressTypeFQDN, discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6)
	at := field.NewPath("endpoints")
	if len(s.Endpoints) > maxSliceEndpoints {
		return append(errs, field.TooMany(at, len(s.Endpoints), maxSliceEndpoints))
	}
	for i := range s.Endpoints {
		errs = append(errs, validateSliceEndpoint(&s.Endpoints[i], s.AddressType, known, at.Index(i))...)
	}
	return append(errs, validateSlicePorts(s.Ports, field.NewPath("ports"))...)
}

func validateSliceEndpoint(e *discoveryv1.Endpoint, t discoveryv1.AddressType, known sets.Set[string], at *field.Path) field.ErrorList {
	var errs field.ErrorList
	p := at.Child("addresses")
	switch n := len(e.Addresses); {
	case n == 0:
		errs = append(errs, field.Required(p, ""))
	case n > maxSliceAddresses:
		errs = append(errs, field.TooMany(p, n, maxSliceAddresses))
	}
	for i, a := range e.Addresses {
		if known.Has(a) {
			continue
		}
		errs = append(errs, validateSliceAddress(a, t, p, p.Index(i))...)
	}
	if n := e.NodeName; n != nil {
		errs = append(errs, check(at.Child("nodeName"), *n, nameIsSubdomain(*n, false))...)
	}
	errs = append(errs, metavalidation.ValidateLabels(e.DeprecatedTopology, at.Child("deprecatedTopology"))...)
	if len(e.DeprecatedTopology) > deprecatedTopology {
		errs = append(errs, field.TooMany(at.Child("deprecatedTopology"), len(e.DeprecatedTopology), deprecatedTopology))
	}
	if h := e.Hostname; h != nil {
		errs = append(errs, check(at.Child("hostname"), *h, validation.IsDNS1123Label(*h))...)
	}
	if e.Hints != nil {
		q := at.Child("hints", "forZones")
		if len(e.Hints.ForZones) > maxZoneNameHints {
			errs = append(errs, field.TooMany(q, len(e.Hints.ForZones), maxZoneNameHints))
		}
		for i, z := range e.Hints.ForZones {
			errs = append(errs, check(q.Index(i).Child("name"), z.Name, validation.IsValidLabelValue(z.Name))...)
			if slices.Contains(e.Hints.ForZones[:i], z) {
				errs = append(errs, field.Duplicate(q.Index(i).Child("name"), z.Name))
			}
		}
		q = at.Child("hints", "forNodes")
		if len(e.Hints.ForNodes) > maxZoneNameHints {
			errs = append(errs, field.TooMany(q, len(e.Hints.ForNodes), maxZoneNameHints))
		}
		for i, n := range e.Hints.ForNodes {
			errs = append(errs, check(q.Index(i).Child("name"), n.Name, nameIsSubdomain(n.Name, false))...)
			if slices.Contains(e.Hints.ForNodes[:i], n) {
				errs = append(errs, field.Duplicate(q.Index(i).Child("name"), n.Name))
			}
		}
	}
	return errs
}

// validateSliceAddress judges one address. That it is of another family clients know as an error of the list.
func validateSliceAddress(a string, t discoveryv1.AddressType, list, at *field.Path) field.ErrorList {
	if t == discoveryv1.AddressTypeFQDN {
		return validation.IsFullyQualifiedDomainName(at, a)
	}
	errs := validation.IsValidIP(at, a)
	ip, ok := netip.AddrFromSlice(utilnet.ParseIPSloppy(a))
	if !ok {
		return errs
	}
	if ip4 := utilnet.ParseIPSloppy(a).To4(); ip4 != nil {
		ip = ip.Unmap()
	}
	if t == discoveryv1.AddressTypeIPv4 && !ip.Is4() {
		return append(errs, field.Invalid(list, a, "must be an IPv4 address"))
	}
	if t == discoveryv1.AddressTypeIPv6 && !ip.Is6() {
		return append(errs, field.Invalid(list, a, "must be an IPv6 address"))
	}
	return append(errs, validateEndpointIP(a, at)...)
}

func validateSlicePorts(ports []discoveryv1.EndpointPort, at *field.Path) field.ErrorList {
	if len(ports) > maxSlicePorts {
		return field.ErrorList{field.TooMany(at, len(ports), maxSlicePorts)}
	}
	var errs field.ErrorList
	names := sets.Set[string]{}
	for i, p := range ports {
		q := at.Index(i)
		name := ptr.Deref(p.Name, "")
		if name != "" {
			errs = append(errs, check(q.Child("name"), name, validation.IsDNS1123Label(name))...)
		}
		if names.Has(name) {
			errs = append(errs, field.Duplicate(q.Child("name"), name))
		}
		names.Insert(name)
		errs = append(errs, oneOf(q.Child("protocol"), ptr.Deref(p.Protocol, ""), corev1.ProtocolSCTP, corev1.ProtocolTCP, corev1.ProtocolUDP)...)
		if a := p.AppProtocol; a != nil {
			errs = append(errs, check(q.Child("appProtocol"), *a, validation.IsQualifiedName(*a))...)
		}
	}
	return errs
}
