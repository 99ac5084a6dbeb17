package object

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// prepareServiceUpdate keeps what the user did not mean to change: the status, the allocated
// addresses and ports that the update leaves out, and drops what the new type has no use for.
func prepareServiceUpdate(s, old *corev1.Service) {
	s.Status = *old.Status.DeepCopy()
	keepAllocated(s, old)
	syncClusterIPs(s, old)
	dropUnusedByType(s, old)
}

// keepAllocated copies allocated values that an update leaves empty, so that a manifest without them can be
// put again and again.
func keepAllocated(s, old *corev1.Service) {
	if needsClusterIP(old) && needsClusterIP(s) {
		if s.Spec.ClusterIP == "" {
			s.Spec.ClusterIP = old.Spec.ClusterIP
		}
		if len(s.Spec.ClusterIPs) == 0 && s.Spec.ClusterIP == old.Spec.ClusterIP {
			s.Spec.ClusterIPs = slices.Clone(old.Spec.ClusterIPs)
		}
		if s.Spec.IPFamilyPolicy == nil {
			s.Spec.IPFamilyPolicy = old.Spec.IPFamilyPolicy
		}
		if len(s.Spec.IPFamilies) == 0 {
			s.Spec.IPFamilies = slices.Clone(old.Spec.IPFamilies)
		}
	}
	if needsNodePort(old) && needsNodePort(s) {
		keepNodePorts(s, old)
	}
	if needsHealthCheckPort(old) && needsHealthCheckPort(s) && s.Spec.HealthCheckNodePort == 0 {
		s.Spec.HealthCheckNodePort = old.Spec.HealthCheckNodePort
	}
}

type portKey struct {
	protocol corev1.Protocol
	port     int32
}

func keepNodePorts(s, old *corev1.Service) {
	had := map[portKey]int32{}
	for _, p := range old.Spec.Ports {
		had[portKey{p.Protocol, p.Port}] = p.NodePort
	}
	taken := map[int32]bool{}
	for _, p := range s.Spec.Ports {
		taken[p.NodePort] = true
	}
	for i := range s.Spec.Ports {
		p := &s.Spec.Ports[i]
		if n := had[portKey{p.Protocol, p.Port}]; p.NodePort == 0 && n != 0 && !taken[n] {
			p.NodePort = n
			taken[n] = true
		}
	}
}

// dropUnusedByType clears fields of the old type that a change of type carried along. A field that the
// update itself set or changed stays, and validation tells of it.
func dropUnusedByType(s, old *corev1.Service) {
	if needsClusterIP(old) && !needsClusterIP(s) && s.Spec.ClusterIP == old.Spec.ClusterIP && slices.Equal(s.Spec.ClusterIPs, old.Spec.ClusterIPs) {
		s.Spec.ClusterIP, s.Spec.ClusterIPs = "", nil
		s.Spec.IPFamilies, s.Spec.IPFamilyPolicy = nil, nil
	}
	if needsNodePort(old) && !needsNodePort(s) && sameNodePorts(s, old) {
		for i := range s.Spec.Ports {
			s.Spec.Ports[i].NodePort = 0
		}
	}
	if needsHealthCheckPort(old) && !needsHealthCheckPort(s) && s.Spec.HealthCheckNodePort == old.Spec.HealthCheckNodePort {
		s.Spec.HealthCheckNodePort = 0
	}
	if balanced(old) && !balanced(s) {
		if same(s.Spec.AllocateLoadBalancerNodePorts, old.Spec.AllocateLoadBalancerNodePorts) {
			s.Spec.AllocateLoadBalancerNodePorts = nil
		}
		if same(s.Spec.LoadBalancerClass, old.Spec.LoadBalancerClass) {
			s.Spec.LoadBalancerClass = nil
		}
	}
	if externallyAccessible(old) && !externallyAccessible(s) && s.Spec.ExternalTrafficPolicy == old.Spec.ExternalTrafficPolicy {
		s.Spec.ExternalTrafficPolicy = ""
	}
	if needsClusterIP(old) && !needsClusterIP(s) && same(s.Spec.InternalTrafficPolicy, old.Spec.InternalTrafficPolicy) {
		s.Spec.InternalTrafficPolicy = nil
	}
	if old.Spec.Type == corev1.ServiceTypeExternalName && s.Spec.Type != old.Spec.Type && s.Spec.ExternalName == old.Spec.ExternalName {
		s.Spec.ExternalName = ""
	}
}

func balanced(s *corev1.Service) bool { return s.Spec.Type == corev1.ServiceTypeLoadBalancer }

func same[T comparable](a, b *T) bool {
	return a == b || a != nil && b != nil && *a == *b
}

func sameNodePorts(s, old *corev1.Service) bool {
	had := map[int32]bool{0: true}
	for _, p := range old.Spec.Ports {
		had[p.NodePort] = true
	}
	for _, p := range s.Spec.Ports {
		if !had[p.NodePort] {
			return false
		}
	}
	return true
}

// syncClusterIPs keeps clusterIP and clusterIPs[0] equal for clients that know only the one or the other
// (KEP-563). old is nil on create.
func syncClusterIPs(s, old *corev1.Service) {
	if old == nil {
		if s.Spec.ClusterIP != "" && len(s.Spec.ClusterIPs) == 0 {
			s.Spec.ClusterIPs = []string{s.Spec.ClusterIP}
		}
		return
	}
	switch {
	case s.Spec.ClusterIP == old.Spec.ClusterIP && len(s.Spec.ClusterIPs) == 0:
		s.Spec.ClusterIPs = slices.Clone(old.Spec.ClusterIPs)
	case s.Spec.ClusterIP != old.Spec.ClusterIP && s.Spec.ClusterIP == "" && slices.Equal(s.Spec.ClusterIPs, old.Spec.ClusterIPs):
		s.Spec.ClusterIPs = nil
	case s.Spec.ClusterIP != old.Spec.ClusterIP && s.Spec.ClusterIP != "" &&
		(len(s.Spec.ClusterIPs) == 0 || slices.Equal(s.Spec.ClusterIPs, old.Spec.ClusterIPs)):
		s.Spec.ClusterIPs = []string{s.Spec.ClusterIP}
	}
}
