package object

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func networkPolicyKind() *Kind {
	return &Kind{
		Versions: []Version{version[networkingv1.NetworkPolicy, networkingv1.NetworkPolicyList](
			networkingv1.SchemeGroupVersion, "NetworkPolicy")},
		Resource:      "networkpolicies",
		Singular:      "networkpolicy",
		ShortNames:    []string{"netpol"},
		Scope:         Namespaced,
		StoragePrefix: "networkpolicies",
		Strategy: rules[*networkingv1.NetworkPolicy]{
			Default:       defaultNetworkPolicy,
			PrepareCreate: func(n *networkingv1.NetworkPolicy) { firstGeneration(n) },
			PrepareUpdate: func(n, old *networkingv1.NetworkPolicy) { nextGeneration(n, old, n.Spec, old.Spec) },
			Compare:       validateNetworkPolicy,
		}.full(Namespaced, nameIsSubdomain),
		Columns: []metav1.TableColumnDefinition{
			nameColumn(),
			column("Pod-Selector", "string", doc(networkingv1.NetworkPolicySpec{}.SwaggerDoc())["podSelector"]),
			ageColumn(),
		},
		Cells: cells(func(n *networkingv1.NetworkPolicy, now time.Time) []any {
			return []any{n.Name, selectorText(&n.Spec.PodSelector), age(n, now)}
		}),
	}
}

func defaultNetworkPolicy(n *networkingv1.NetworkPolicy) {
	if len(n.Spec.PolicyTypes) == 0 {
		n.Spec.PolicyTypes = []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}
		if len(n.Spec.Egress) > 0 {
			n.Spec.PolicyTypes = append(n.Spec.PolicyTypes, networkingv1.PolicyTypeEgress)
		}
	}
	ports := func(list []networkingv1.NetworkPolicyPort) {
		for i := range list {
			setDefaultPtr(&list[i].Protocol, corev1.ProtocolTCP)
		}
	}
	for i := range n.Spec.Ingress {
		ports(n.Spec.Ingress[i].Ports)
	}
	for i := range n.Spec.Egress {
		ports(n.Spec.Egress[i].Ports)
	}
}

func validateNetworkPolicy(n, old *networkingv1.NetworkPolicy) field.ErrorList {
	known := blocksOf(old)
	errs := validateLabelSelector(&n.Spec.PodSelector, specPath.Child("podSelector"))
	for i, r := range n.Spec.Ingress {
		at := specPath.Child("ingress").Index(i)
		errs = append(errs, validatePolicyPorts(r.Ports, at.Child("ports"))...)
		errs = append(errs, validatePeers(r.From, known, at.Child("from"))...)
	}
	for i, r := range n.Spec.Egress {
		at := specPath.Child("egress").Index(i)
		errs = append(errs, validatePolicyPorts(r.Ports, at.Child("ports"))...)
		errs = append(errs, validatePeers(r.To, known, at.Child("to"))...)
	}
	at := specPath.Child("policyTypes")
	if len(n.Spec.PolicyTypes) > 2 {
		return append(errs, field.Invalid(at, n.Spec.PolicyTypes, "may not specify more than two policyTypes"))
	}
	for i, t := range n.Spec.PolicyTypes {
		errs = append(errs, listed(at.Index(i), t, networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress)...)
	}
	return errs
}

// listed is oneOf with the values told in the order given.
func listed[T ~string](at *field.Path, value T, allowed ...T) field.ErrorList {
	if slices.Contains(allowed, value) {
		return nil
	}
	err := field.NotSupported(at, value, allowed)
	quoted := make([]string, len(allowed))
	for i, a := range allowed {
		quoted[i] = strconv.Quote(string(a))
	}
	err.Detail = "supported values: " + strings.Join(quoted, ", ")
	return field.ErrorList{err}
}

func validateLabelSelector(s *metav1.LabelSelector, at *field.Path) field.ErrorList {
	return metavalidation.ValidateLabelSelector(s, metavalidation.LabelSelectorValidationOptions{}, at)
}

func validatePolicyPorts(ports []networkingv1.NetworkPolicyPort, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, p := range ports {
		q := at.Index(i)
		if p.Protocol != nil {
			errs = append(errs, listed(q.Child("protocol"), *p.Protocol, corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP)...)
		}
		switch {
		case p.Port == nil && p.EndPort != nil:
			errs = append(errs, field.Invalid(q.Child("endPort"), *p.EndPort, "may not be specified when `port` is not specified"))
		case p.Port == nil:
		case p.Port.Type == intstr.Int:
			errs = append(errs, check(q.Child("port"), p.Port.IntVal, validation.IsValidPortNum(int(p.Port.IntVal)))...)
			if e := p.EndPort; e != nil {
				if *e < p.Port.IntVal {
					errs = append(errs, field.Invalid(q.Child("endPort"), *e, "must be greater than or equal to `port`"))
				}
				errs = append(errs, check(q.Child("endPort"), *e, validation.IsValidPortNum(int(*e)))...)
			}
		default:
			if p.EndPort != nil {
				errs = append(errs, field.Invalid(q.Child("endPort"), *p.EndPort, "may not be specified when `port` is non-numeric"))
			}
			errs = append(errs, check(q.Child("port"), p.Port.StrVal, validation.IsValidPortName(p.Port.StrVal))...)
		}
	}
	return errs
}

// blocksOf are the blocks of addresses that a policy names; those from before they were judged strictly may stay.
func blocksOf(n *networkingv1.NetworkPolicy) []string {
	if n == nil {
		return nil
	}
	var all []string
	add := func(peers []networkingv1.NetworkPolicyPeer) {
		for _, p := range peers {
			if p.IPBlock != nil {
				all = append(append(all, p.IPBlock.CIDR), p.IPBlock.Except...)
			}
		}
	}
	for _, r := range n.Spec.Ingress {
		add(r.From)
	}
	for _, r := range n.Spec.Egress {
		add(r.To)
	}
	return all
}

func validatePeers(peers []networkingv1.NetworkPolicyPeer, known []string, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range peers {
		p, q := &peers[i], at.Index(i)
		n := 0
		if p.PodSelector != nil {
			n++
			errs = append(errs, validateLabelSelector(p.PodSelector, q.Child("podSelector"))...)
		}
		if p.NamespaceSelector != nil {
			n++
			errs = append(errs, validateLabelSelector(p.NamespaceSelector, q.Child("namespaceSelector"))...)
		}
		switch {
		case n == 0 && p.IPBlock == nil:
			errs = append(errs, field.Required(q, "must specify a peer"))
		case n > 0 && p.IPBlock != nil:
			errs = append(errs, field.Forbidden(q, "may not specify both ipBlock and another peer"))
		}
		if p.IPBlock != nil {
			errs = append(errs, validateIPBlock(p.IPBlock, known, q.Child("ipBlock"))...)
		}
	}
	return errs
}

func validateIPBlock(b *networkingv1.IPBlock, known []string, at *field.Path) field.ErrorList {
	if b.CIDR == "" {
		return field.ErrorList{field.Required(at.Child("cidr"), "")}
	}
	errs := validation.IsValidCIDRForLegacyField(at.Child("cidr"), b.CIDR, true, known)
	whole, err := netip.ParsePrefix(b.CIDR)
	for i, e := range b.Except {
		p := at.Child("except").Index(i)
		if bad := validation.IsValidCIDRForLegacyField(p, e, true, known); len(bad) > 0 {
			errs = append(errs, bad...)
			continue
		}
		part, perr := netip.ParsePrefix(e)
		if err == nil && perr == nil && (!whole.Contains(part.Addr()) || part.Bits() <= whole.Bits()) {
			errs = append(errs, field.Invalid(p, e, "must be a strict subset of `cidr`"))
		}
	}
	return errs
}
