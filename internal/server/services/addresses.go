package services

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func hasClusterIP(s *corev1.Service) bool { return s.Spec.Type != corev1.ServiceTypeExternalName }

func headless(s *corev1.Service) bool {
	ips := clusterIPs(s)
	return len(ips) > 0 && ips[0] == corev1.ClusterIPNone
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
	// A headless service without a selector names its endpoints itself and may have any family.
	free := headless(s) && len(s.Spec.Selector) == 0
	policy := corev1.IPFamilyPolicySingleStack
	if s.Spec.IPFamilyPolicy != nil {
		policy = *s.Spec.IPFamilyPolicy
	} else if len(s.Spec.IPFamilies) == 2 || len(s.Spec.ClusterIPs) == 2 || free && len(s.Spec.IPFamilies) == 0 {
		policy = corev1.IPFamilyPolicyRequireDualStack
	}
	s.Spec.IPFamilyPolicy = &policy
	said := len(s.Spec.IPFamilies) // by the client, or before
	for i, ip := range clusterIPs(s) {
		if addr, err := netip.ParseAddr(ip); err == nil && i >= len(s.Spec.IPFamilies) {
			s.Spec.IPFamilies = append(s.Spec.IPFamilies, familyOf(netip.PrefixFrom(addr, addr.BitLen())))
		}
	}
	var have []corev1.IPFamily
	for _, r := range a.flag {
		have = append(have, familyOf(r))
	}
	for i, ip := range clusterIPs(s) {
		addr, err := netip.ParseAddr(ip)
		if err != nil || i < said {
			continue
		}
		if f := familyOf(netip.PrefixFrom(addr, addr.BitLen())); !slices.Contains(have, f) {
			return field.ErrorList{field.Invalid(spec.Child("clusterIPs").Index(i), clusterIPs(s), fmt.Sprintf("%s is not configured on this cluster", f))}
		}
	}
	path := spec.Child("ipFamilies")
	var errs field.ErrorList
	if policy == corev1.IPFamilyPolicyRequireDualStack && len(have) < 2 && !free {
		errs = append(errs, field.Invalid(spec.Child("ipFamilyPolicy"), policy, "this cluster is not configured for dual-stack services"))
	}
	for i, f := range s.Spec.IPFamilies {
		if !slices.Contains(have, f) && !free {
			errs = append(errs, field.Invalid(path.Index(i), f, "not configured on this cluster"))
		}
	}
	if len(errs) > 0 {
		return errs
	}
	want := 1
	if policy != corev1.IPFamilyPolicySingleStack {
		want = 2
	}
	offered := have
	if free { // its endpoints need no cluster IPs
		offered = append(slices.Clone(have), corev1.IPv4Protocol, corev1.IPv6Protocol)
	}
	for _, f := range offered {
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
func (a *Allocator) addresses(ctx context.Context, s, was *corev1.Service, t *taking) field.ErrorList {
	if !hasClusterIP(s) {
		return nil
	}
	if headless(s) {
		s.Spec.ClusterIP, s.Spec.ClusterIPs = corev1.ClusterIPNone, []string{corev1.ClusterIPNone}
		return nil
	}
	asked := clusterIPs(s)
	var had []netip.Addr
	if was != nil {
		had = addresses(was)
	}
	got := make([]string, 0, len(s.Spec.IPFamilies))
	path := spec.Child("clusterIPs")
	for i, f := range s.Spec.IPFamilies {
		if !slices.ContainsFunc(a.flag, func(p netip.Prefix) bool { return familyOf(p) == f }) {
			return field.ErrorList{field.Invalid(spec.Child("ipFamilies").Index(i), f, "not configured on this cluster")}
		}
		if i < len(asked) && asked[i] != "" {
			if ip, err := netip.ParseAddr(asked[i]); err != nil || !slices.Contains(had, ip) {
				if err == nil {
					began := time.Now()
					err = a.take(ctx, ip, f, t)
					a.addressed(t, ip, f, static, began, err)
				}
				if err != nil {
					return field.ErrorList{field.Invalid(path, asked, fmt.Sprintf("failed to allocate IP %s: %v", asked[i], err))}
				}
			}
			got = append(got, asked[i])
			continue
		}
		began := time.Now()
		ip, err := a.find(ctx, f, t)
		a.addressed(t, ip, f, dynamic, began, err)
		if err != nil {
			return field.ErrorList{field.InternalError(path, fmt.Errorf("failed to allocate a serviceIP: %w", err))}
		}
		got = append(got, ip.String())
	}
	if len(got) > 0 {
		s.Spec.ClusterIP, s.Spec.ClusterIPs = got[0], got
	}
	return nil
}

var (
	errHeld    = errors.New("provided IP is already allocated")
	errFull    = errors.New("range is full")
	errOutside = errors.New("the provided network does not match the current range")
)

// take gives the service an address that it asked for.
func (a *Allocator) take(ctx context.Context, ip netip.Addr, f corev1.IPFamily, t *taking) error {
	if err := a.reserve(ip, f, t); err != nil {
		return err
	}
	err := a.name(ctx, ip, t)
	if apierrors.IsAlreadyExists(err) {
		return errHeld
	}
	t.err = err
	return err
}

// reserve marks an address as taken in memory if no service of this process's knowledge has it.
func (a *Allocator) reserve(ip netip.Addr, f corev1.IPFamily, t *taking) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, held := a.ips[ip]; held {
		return errHeld
	}
	if !slices.ContainsFunc(a.poolsOf(f), func(r netip.Prefix) bool { return usable(r, ip) }) {
		if t.dry { // clients know other words for it there
			return fmt.Errorf("the provided IP (%s) is not in the valid range. The range of valid IPs is %s", ip, a.rangesOf(f))
		}
		return errOutside
	}
	a.ips[ip] = t.key
	t.ips = append(t.ips, ip)
	return nil
}

// rangesOf are the ranges of a family as text; mu is held.
func (a *Allocator) rangesOf(f corev1.IPFamily) string {
	var all []string
	for _, r := range a.poolsOf(f) {
		all = append(all, r.String())
	}
	return strings.Join(all, ", ")
}

// find gives the service a free address of a family.
func (a *Allocator) find(ctx context.Context, f corev1.IPFamily, t *taking) (netip.Addr, error) {
	for {
		a.mu.Lock()
		ip, ok := a.choose(a.poolsOf(f))
		if ok {
			a.ips[ip] = t.key
			t.ips = append(t.ips, ip)
		}
		a.mu.Unlock()
		if !ok {
			return ip, errFull
		}
		err := a.name(ctx, ip, t)
		if err == nil {
			return ip, nil
		}
		a.mu.Lock()
		delete(a.ips, ip)
		t.ips = t.ips[:len(t.ips)-1]
		exists := apierrors.IsAlreadyExists(err)
		if exists { // another server's, of which the cache does not tell yet
			a.named[ip] = struct{}{}
		}
		a.mu.Unlock()
		if !exists {
			t.err = err
			return ip, err
		}
	}
}
