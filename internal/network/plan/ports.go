package plan

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// PortName names one port of one Service.
type PortName struct{ Namespace, Name, Port string }

func (n PortName) String() string {
	if n.Port == "" {
		return n.Namespace + "/" + n.Name
	}
	return n.Namespace + "/" + n.Name + ":" + n.Port
}

// Port is what the rules of one port of one Service depend on, for one family of addresses.
type Port struct {
	Name      PortName
	Protocol  corev1.Protocol
	ClusterIP netip.Addr
	Number    uint16
	NodePort  uint16
	// ExternalIPs and LoadBalancerIPs are further addresses at which the port is served.
	ExternalIPs, LoadBalancerIPs []netip.Addr
	// SourceRanges limit who may use LoadBalancerIPs; empty lets everybody. Restricted tells that the Service has ranges,
	// though maybe none of this family.
	SourceRanges []netip.Prefix
	Restricted   bool
	// AffinitySeconds keeps a client with its endpoint for that long; 0 means not at all.
	AffinitySeconds int32
	// ExternalLocal and InternalLocal keep traffic on this node.
	ExternalLocal, InternalLocal bool
	// HealthCheckNodePort answers load balancers that ask whether this node has endpoints; 0 if there is none.
	HealthCheckNodePort uint16
}

// External tells whether the port is served outside of the cluster too.
func (p *Port) External() bool {
	return p.NodePort != 0 || len(p.ExternalIPs) > 0 || len(p.LoadBalancerIPs) > 0
}

const (
	labelProxyName = "service.kubernetes.io/service-proxy-name"
	labelHeadless  = corev1.IsHeadlessService
)

// Proxied tells whether the Service is this proxy's business: it has cluster addresses, and no other proxy was asked to
// serve it.
func Proxied(s *corev1.Service) bool {
	if _, other := s.Labels[labelProxyName]; other {
		return false
	}
	if _, headless := s.Labels[labelHeadless]; headless {
		return false
	}
	return s.Spec.Type != corev1.ServiceTypeExternalName && s.Spec.ClusterIP != corev1.ClusterIPNone && s.Spec.ClusterIP != ""
}

// PortsOf gives the ports of a Service for a family, none if it has no cluster address of that family.
func PortsOf(s *corev1.Service, ipv6 bool) []Port {
	if !Proxied(s) {
		return nil
	}
	clusterIP, ok := clusterIPOf(s, ipv6)
	if !ok {
		return nil
	}
	base := Port{
		ClusterIP:       clusterIP,
		ExternalIPs:     addresses(s.Spec.ExternalIPs, ipv6),
		LoadBalancerIPs: ingressIPs(s, ipv6),
		ExternalLocal:   s.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal,
		InternalLocal:   s.Spec.InternalTrafficPolicy != nil && *s.Spec.InternalTrafficPolicy == corev1.ServiceInternalTrafficPolicyLocal,
	}
	base.SourceRanges, base.Restricted = sourceRanges(s, ipv6)
	if s.Spec.SessionAffinity == corev1.ServiceAffinityClientIP {
		base.AffinitySeconds = corev1.DefaultClientIPServiceAffinitySeconds
		if c := s.Spec.SessionAffinityConfig; c != nil && c.ClientIP != nil && c.ClientIP.TimeoutSeconds != nil {
			base.AffinitySeconds = *c.ClientIP.TimeoutSeconds
		}
	}
	if s.Spec.Type == corev1.ServiceTypeLoadBalancer && base.ExternalLocal {
		base.HealthCheckNodePort = uint16(s.Spec.HealthCheckNodePort)
	}
	out := make([]Port, 0, len(s.Spec.Ports))
	for _, sp := range s.Spec.Ports {
		p := base
		p.Name = PortName{s.Namespace, s.Name, sp.Name}
		p.Protocol = sp.Protocol
		if p.Protocol == "" {
			p.Protocol = corev1.ProtocolTCP
		}
		p.Number, p.NodePort = uint16(sp.Port), uint16(sp.NodePort)
		out = append(out, p)
	}
	return out
}

func clusterIPOf(s *corev1.Service, ipv6 bool) (netip.Addr, bool) {
	all := s.Spec.ClusterIPs
	if len(all) == 0 {
		all = []string{s.Spec.ClusterIP}
	}
	if ips := addresses(all, ipv6); len(ips) > 0 {
		return ips[0], true
	}
	return netip.Addr{}, false
}

func addresses(in []string, ipv6 bool) []netip.Addr {
	var out []netip.Addr
	for _, s := range in {
		if ip, err := netip.ParseAddr(s); err == nil && ip.Unmap().Is6() == ipv6 && !slices.Contains(out, ip.Unmap()) {
			out = append(out, ip.Unmap())
		}
	}
	return out
}

// ingressIPs leaves out addresses of load balancers that want to see all traffic themselves (KEP-1860).
func ingressIPs(s *corev1.Service, ipv6 bool) []netip.Addr {
	if s.Spec.Type != corev1.ServiceTypeLoadBalancer {
		return nil
	}
	var ips []string
	for _, in := range s.Status.LoadBalancer.Ingress {
		if in.IP != "" && (in.IPMode == nil || *in.IPMode == corev1.LoadBalancerIPModeVIP) {
			ips = append(ips, in.IP)
		}
	}
	return addresses(ips, ipv6)
}

func sourceRanges(s *corev1.Service, ipv6 bool) (ranges []netip.Prefix, restricted bool) {
	if s.Spec.Type != corev1.ServiceTypeLoadBalancer {
		return nil, false
	}
	all := s.Spec.LoadBalancerSourceRanges
	if len(all) == 0 {
		all = splitList(s.Annotations[corev1.AnnotationLoadBalancerSourceRangesKey])
	}
	for _, r := range all {
		p, err := netip.ParsePrefix(r)
		if err != nil {
			continue // the API server lets none through
		}
		if p.Bits() == 0 && p.Addr().Is6() == ipv6 {
			return nil, false // everybody
		}
		restricted = true
		if p.Addr().Is6() == ipv6 {
			ranges = append(ranges, p.Masked())
		}
	}
	return ranges, restricted
}
