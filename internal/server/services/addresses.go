package services

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func hasClusterIP(s *corev1.Service) bool { return s.Spec.Type != corev1.ServiceTypeExternalName }

func headless(s *corev1.Service) bool {
	ips := clusterIPs(s)
	return len(ips) > 0 && ips[0] == corev1.ClusterIPNone
}

func familyOf(p netip.Prefix) corev1.IPFamily {
	if p.Addr().Is4() {
		return corev1.IPv4Protocol
	}
	return corev1.IPv6Protocol
}

// families fills in ipFamilyPolicy and ipFamilies, as the Service type documents them.
func (a *Allocator) families(s, was *corev1.Service) field.ErrorList {
	if !hasClusterIP(s) {
		s.Spec.ClusterIP, s.Spec.ClusterIPs, s.Spec.IPFamilies, s.Spec.IPFamilyPolicy = "", nil, nil, nil
		return nil
	}
	if was != nil && hasClusterIP(was) {
		keepFamilies(s, was)
	}
	policy := corev1.IPFamilyPolicySingleStack
	if s.Spec.IPFamilyPolicy != nil {
		policy = *s.Spec.IPFamilyPolicy
	} else if len(s.Spec.IPFamilies) == 2 || len(s.Spec.ClusterIPs) == 2 {
		policy = corev1.IPFamilyPolicyRequireDualStack
	}
	s.Spec.IPFamilyPolicy = &policy
	for i, ip := range clusterIPs(s) {
		if addr, err := netip.ParseAddr(ip); err == nil && i >= len(s.Spec.IPFamilies) {
			s.Spec.IPFamilies = append(s.Spec.IPFamilies, familyOf(netip.PrefixFrom(addr, addr.BitLen())))
		}
	}
	var have []corev1.IPFamily
	for _, r := range a.ranges {
		have = append(have, familyOf(r))
	}
	// A headless service without a selector names its endpoints itself and may have any family.
	free := headless(s) && len(s.Spec.Selector) == 0
	path := spec.Child("ipFamilies")
	for i, f := range s.Spec.IPFamilies {
		if !slices.Contains(have, f) && !free {
			return field.ErrorList{field.Invalid(path.Index(i), f, "not configured on this cluster")}
		}
	}
	if policy == corev1.IPFamilyPolicyRequireDualStack && len(have) < 2 && !free {
		return field.ErrorList{field.Invalid(spec.Child("ipFamilyPolicy"), policy, "this cluster is not configured for dual-stack services")}
	}
	want := 1
	if policy != corev1.IPFamilyPolicySingleStack {
		want = 2
	}
	for _, f := range have {
		if len(s.Spec.IPFamilies) < want && !slices.Contains(s.Spec.IPFamilies, f) {
			s.Spec.IPFamilies = append(s.Spec.IPFamilies, f)
		}
	}
	return nil
}

// keepFamilies lets an update that leaves addresses and families out keep those that the service has.
func keepFamilies(s, was *corev1.Service) {
	if len(clusterIPs(s)) == 0 && len(was.Spec.ClusterIPs) > 0 {
		s.Spec.ClusterIP, s.Spec.ClusterIPs = was.Spec.ClusterIP, slices.Clone(was.Spec.ClusterIPs)
	}
	if len(s.Spec.IPFamilies) == 0 {
		s.Spec.IPFamilies = slices.Clone(was.Spec.IPFamilies)
	}
	if s.Spec.IPFamilyPolicy == nil {
		s.Spec.IPFamilyPolicy = was.Spec.IPFamilyPolicy
	}
	if single := s.Spec.IPFamilyPolicy; single != nil && *single == corev1.IPFamilyPolicySingleStack {
		s.Spec.IPFamilies = s.Spec.IPFamilies[:min(1, len(s.Spec.IPFamilies))]
		s.Spec.ClusterIPs = s.Spec.ClusterIPs[:min(1, len(s.Spec.ClusterIPs))]
	}
}

// addresses takes or chooses a cluster IP for each family of the service.
func (a *Allocator) addresses(s, was *corev1.Service, t *taking) field.ErrorList {
	if !hasClusterIP(s) {
		return nil
	}
	if headless(s) {
		s.Spec.ClusterIP, s.Spec.ClusterIPs = corev1.ClusterIPNone, []string{corev1.ClusterIPNone}
		return nil
	}
	asked := clusterIPs(s)
	got := make([]string, 0, len(s.Spec.IPFamilies))
	path := spec.Child("clusterIPs")
	for i, f := range s.Spec.IPFamilies {
		r, ok := a.rangeOf(f)
		if !ok {
			return field.ErrorList{field.Invalid(spec.Child("ipFamilies").Index(i), f, "not configured on this cluster")}
		}
		if i < len(asked) && asked[i] != "" {
			if err := a.take(asked[i], r, t); err != nil {
				return field.ErrorList{field.Invalid(path, asked, fmt.Sprintf("failed to allocate IP %s: %v", asked[i], err))}
			}
			got = append(got, asked[i])
			continue
		}
		ip, ok := a.choose(r)
		if !ok {
			return field.ErrorList{field.InternalError(path, fmt.Errorf("failed to allocate a serviceIP: range %s is full", r))}
		}
		a.ips[ip] = t.key
		t.ips = append(t.ips, ip)
		got = append(got, ip.String())
	}
	if len(got) > 0 {
		s.Spec.ClusterIP, s.Spec.ClusterIPs = got[0], got
	}
	return nil
}

func (a *Allocator) rangeOf(f corev1.IPFamily) (netip.Prefix, bool) {
	for _, r := range a.ranges {
		if familyOf(r) == f {
			return r, true
		}
	}
	return netip.Prefix{}, false
}

// take gives the service an address that it asked for. It may hold it already.
func (a *Allocator) take(text string, r netip.Prefix, t *taking) error {
	ip, err := netip.ParseAddr(text)
	if err != nil {
		return err
	}
	holder, held := a.ips[ip]
	switch {
	case held && holder == t.key:
		return nil
	case held:
		return fmt.Errorf("provided IP is already allocated")
	case !r.Contains(ip) || ip == r.Addr() || (r.Addr().Is4() && ip == at(r, hosts(r)+1)):
		return fmt.Errorf("the provided IP (%s) is not in the valid range. The range of valid IPs is %s", text, r)
	}
	a.ips[ip] = t.key
	t.ips = append(t.ips, ip)
	return nil
}

// largest bounds how much of a range is used, as upstream bounds it: 2^64 would not be filled anyway.
const largest = 1 << 30

// hosts counts the addresses of a range that services may have: all but the network's own and, in IPv4, the broadcast address.
func hosts(r netip.Prefix) int {
	bits := r.Addr().BitLen() - r.Bits()
	if bits > 30 {
		return largest
	}
	n := 1<<bits - 1
	if r.Addr().Is4() {
		n--
	}
	return max(n, 0)
}

// lower is the size of the part of a range that choice leaves alone as long as it can (KEP-3070).
func lower(size int) int {
	if size <= 16 {
		return 0
	}
	return min(max(16, size/16), 256)
}

// choose finds a free address, starting at a random one: first in the upper part, then in the lower.
func (a *Allocator) choose(r netip.Prefix) (netip.Addr, bool) {
	size := hosts(r)
	edge := lower(size)
	for _, part := range [][2]int{{edge, size}, {0, edge}} {
		n := part[1] - part[0]
		if n == 0 {
			continue
		}
		first := rand.IntN(n)
		for i := range n {
			ip := at(r, part[0]+(first+i)%n+1)
			if _, held := a.ips[ip]; !held {
				return ip, true
			}
		}
	}
	return netip.Addr{}, false
}

// at is the address n after the first of a range.
func at(r netip.Prefix, n int) netip.Addr {
	bytes := r.Addr().AsSlice()
	sum := new(big.Int).Add(new(big.Int).SetBytes(bytes), big.NewInt(int64(n)))
	ip, _ := netip.AddrFromSlice(sum.FillBytes(bytes))
	return ip
}
