package services

import (
	"math/big"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
)

// defaultRange is the name of the ServiceCIDR that the server makes of its flag.
const defaultRange = "kubernetes"

// rangesChanged takes over the ServiceCIDRs as they are. As long as the default one is not seen yet, which is so at the first start,
// the flag stands for it.
func (a *Allocator) rangesChanged() {
	all := a.cidrs.List()
	slices.SortFunc(all, func(x, y *networkingv1.ServiceCIDR) int {
		if (x.Name == defaultRange) != (y.Name == defaultRange) {
			if x.Name == defaultRange {
				return -1
			}
			return 1
		}
		return strings.Compare(x.Name, y.Name)
	})
	var pools []netip.Prefix
	if _, ok := a.cidrs.Get("", defaultRange); !ok {
		pools = slices.Clone(a.flag)
	}
	for _, c := range all {
		if allocates(c) {
			pools = append(pools, prefixes(c)...)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pools = pools
}

// allocates tells whether new addresses come from a range.
func allocates(c *networkingv1.ServiceCIDR) bool {
	if c.DeletionTimestamp != nil {
		return false
	}
	// The server makes its own range in two writes; between them there is no condition yet.
	return meta.IsStatusConditionTrue(c.Status.Conditions, networkingv1.ServiceCIDRConditionReady) ||
		c.Name == defaultRange && len(c.Status.Conditions) == 0
}

func prefixes(c *networkingv1.ServiceCIDR) []netip.Prefix {
	var out []netip.Prefix
	for _, text := range c.Spec.CIDRs {
		if p, err := netip.ParsePrefix(text); err == nil { // validation lets nothing else in
			out = append(out, p.Masked())
		}
	}
	return out
}

func familyOf(p netip.Prefix) corev1.IPFamily {
	if p.Addr().Is4() {
		return corev1.IPv4Protocol
	}
	return corev1.IPv6Protocol
}

// poolsOf are the ranges of a family; mu is held.
func (a *Allocator) poolsOf(f corev1.IPFamily) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range a.pools {
		if familyOf(p) == f {
			out = append(out, p)
		}
	}
	return out
}

// usable tells whether services may have an address of the range: not the network's own, nor in IPv4 the broadcast address.
func usable(r netip.Prefix, ip netip.Addr) bool {
	return r.Contains(ip) && ip != r.Addr() && (!r.Addr().Is4() || r.Bits() > 30 || ip != at(r, hosts(r)+1))
}

// largest bounds how much of a range is chosen from, as upstream bounds it: 2^64 would not be filled anyway.
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

// choose finds a free address in the ranges, starting in each at a random one: first in the upper part, then in the lower. mu is held.
func (a *Allocator) choose(ranges []netip.Prefix) (netip.Addr, bool) {
	for _, r := range ranges {
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
				if a.free(ip) {
					return ip, true
				}
			}
		}
	}
	return netip.Addr{}, false
}

func (a *Allocator) free(ip netip.Addr) bool {
	if _, held := a.ips[ip]; held {
		return false
	}
	_, named := a.named[ip]
	return !named
}

// at is the address n after the first of a range.
func at(r netip.Prefix, n int) netip.Addr {
	bytes := r.Addr().AsSlice()
	sum := new(big.Int).Add(new(big.Int).SetBytes(bytes), big.NewInt(int64(n)))
	ip, _ := netip.AddrFromSlice(sum.FillBytes(bytes))
	return ip
}
