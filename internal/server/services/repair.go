package services

import (
	"context"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"hyperkube/internal/client"
	"hyperkube/internal/object"
)

const (
	repairWorkers = 2
	// young is how long an IPAddress may be without its service: a write may be on its way, on whichever server.
	young = time.Minute
)

// repair names what is to be looked at: a service, or else an address.
type repair struct {
	service object.Key
	address netip.Addr
}

func (a *Allocator) repair(ctx context.Context, r repair) error {
	if r.address.IsValid() {
		return a.repairAddress(ctx, r)
	}
	s, ok := a.svcs.Get(r.service.Namespace, r.service.Name)
	if !ok || !hasClusterIP(s) || headless(s) {
		return nil
	}
	for _, text := range clusterIPs(s) {
		ip, err := netip.ParseAddr(text)
		if err != nil {
			a.events.Eventf(s, corev1.EventTypeWarning, "ClusterIPNotValid", "Cluster IP %s is not a valid IP; please recreate Service", text)
			continue
		}
		if !a.inSomeRange(ip) {
			a.events.Eventf(s, corev1.EventTypeWarning, "ClusterIPOutOfRange",
				"Cluster IP [%s]: %s is not within any configured Service CIDR; please recreate Service", familyOf(netip.PrefixFrom(ip, ip.BitLen())), ip)
			continue
		}
		if err := a.repairHeld(ctx, s, ip); err != nil {
			return err
		}
	}
	return nil
}

func (a *Allocator) inSomeRange(ip netip.Addr) bool {
	in := func(p netip.Prefix) bool { return p.Contains(ip) }
	if slices.ContainsFunc(a.flag, in) {
		return true
	}
	return slices.ContainsFunc(a.cidrs.List(), func(c *networkingv1.ServiceCIDR) bool { return slices.ContainsFunc(prefixes(c), in) })
}

// repairHeld sees to it that the address of a service has the object that says so.
func (a *Allocator) repairHeld(ctx context.Context, s *corev1.Service, ip netip.Addr) error {
	key := object.KeyOf(s)
	if o, ok := a.objects.Get("", ip.String()); ok {
		if of, is := holder(o); is && of == key {
			return nil
		}
	}
	// The caches may be at different moments. Only what is so in the datastore is repaired.
	if holds, err := a.holds(ctx, key, ip); err != nil || !holds {
		return err
	}
	family := familyOf(netip.PrefixFrom(ip, ip.BitLen()))
	o, err := client.IPAddresses.Get(ctx, a.c, "", ip.String())
	if err == nil {
		of, is := holder(o)
		if is && of == key {
			return nil
		}
		if !is {
			a.events.Eventf(s, corev1.EventTypeWarning, "ClusterIPAlreadyAllocated",
				"Cluster IP [%s]:%s was assigned to something else; please recreate Service", family, ip)
			return nil
		}
		other, err := a.holds(ctx, of, ip)
		if err != nil {
			return err
		}
		if other {
			a.events.Eventf(s, corev1.EventTypeWarning, "ClusterIPAlreadyAllocated",
				"Cluster IP [%s]:%s was assigned to multiple services; please recreate Service", family, ip)
			return nil
		}
		a.events.Eventf(o, corev1.EventTypeWarning, "IPAddressWrongReference",
			"IPAddress: %s for Service %s/%s has a wrong reference; cleaning up", o.Name, s.Namespace, s.Name)
		if err := a.remove(ctx, o); err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	} else if !apierrors.IsNotFound(err) {
		return err
	}
	a.events.Eventf(s, corev1.EventTypeWarning, "ClusterIPNotAllocated", "Cluster IP [%s]: %s is not allocated; repairing", family, ip)
	_, err = client.IPAddresses.Create(ctx, a.c, addressObject(ip, key))
	if apierrors.IsAlreadyExists(err) { // another server was faster; its object wakes us if it is wrong
		return nil
	}
	return err
}

// holds asks the datastore whether a service has an address.
func (a *Allocator) holds(ctx context.Context, key object.Key, ip netip.Addr) (bool, error) {
	s, err := client.Services.Get(ctx, a.c, key.Namespace, key.Name)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil && slices.Contains(addresses(s), ip), err
}

// repairAddress removes the object of an address that no service has, and looks after the service whose address has none.
func (a *Allocator) repairAddress(ctx context.Context, r repair) error {
	o, ok := a.objects.Get("", r.address.String())
	a.mu.Lock()
	key, held := a.ips[r.address]
	a.mu.Unlock()
	if !ok {
		if held {
			a.repairs.Add(repair{service: key})
		}
		return nil
	}
	of, is := holder(o)
	if !is || o.Labels[networkingv1.LabelManagedBy] != managedBy {
		return nil
	}
	if s, ok := a.svcs.Get(of.Namespace, of.Name); ok && slices.Contains(addresses(s), r.address) {
		return nil
	}
	if held && key != of { // its own service has the object put right
		a.repairs.Add(repair{service: key})
		return nil
	}
	if wait := young - time.Since(o.CreationTimestamp.Time); wait > 0 {
		a.repairs.AddAfter(r, wait)
		return nil
	}
	if holds, err := a.holds(ctx, of, r.address); err != nil || holds {
		return err
	}
	a.events.Eventf(o, corev1.EventTypeWarning, "IPAddressNotAllocated",
		"IPAddress: %s for Service %s/%s appears to have leaked: cleaning up", o.Name, of.Namespace, of.Name)
	if err := a.remove(ctx, o); err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return err
	}
	return nil
}
