// Package services gives services what is scarce: cluster IPs and node ports.
//
// [Allocator.Hook] sees each write of a service between validation and store. What a service asks for by value it gets or is
// refused; what it leaves open is chosen at random, so that an address freed a moment ago is seldom the next one taken. As KEP-3070
// and KEP-3668 describe, choice starts in the upper part of each range and leaves the lower part to those who
// ask by value. A write that then is not stored gives back what it took.
//
// Addresses come from every ServiceCIDR that is Ready (KEP-1880). An IPAddress object is what makes an address a service's: it is
// written before the service, so that of two servers over one datastore only one gets it. What this process knows is taken
// is kept in memory and spares attempts, but decides nothing about addresses. Between the two writes a crash may leave an IPAddress without a
// service: [Allocator.Run] removes it, and makes those that services lack.
//
// Node ports have no objects: the allocator reads them from the services before the first allocation and follows their changes.
package services

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/tools/record"

	"hyperkube/internal/client"
	"hyperkube/internal/object"
)

// Allocator hands out addresses and ports. It is safe for concurrent use.
type Allocator struct {
	flag  []netip.Prefix // the default ranges; the first is of the cluster's primary family
	ports utilnet.PortRange

	ready chan struct{}
	c     client.Interface

	repairs *client.Queue[repair]
	events  record.EventRecorder
	svcs    *client.Informer[*corev1.Service]
	objects *client.Informer[*networkingv1.IPAddress]
	cidrs   *client.Informer[*networkingv1.ServiceCIDR]

	mu    sync.Mutex
	pools []netip.Prefix            // what addresses are taken from now, the default ranges first
	ips   map[netip.Addr]object.Key // by services, and by writes in flight
	named map[netip.Addr]struct{}   // by IPAddress objects, whosesoever
	taken map[int]object.Key        // node ports

	metrics metrics
}

// New makes an allocator of one or two default ranges of addresses (of different families) and one of ports.
// Nothing is allocated before Run has read the services that are there.
func New(c client.Interface, cidrs []*net.IPNet, ports utilnet.PortRange) (*Allocator, error) {
	a := &Allocator{
		c: c, ports: ports, ready: make(chan struct{}),
		ips: map[netip.Addr]object.Key{}, named: map[netip.Addr]struct{}{}, taken: map[int]object.Key{}, metrics: newMetrics(),
	}
	for _, n := range cidrs {
		p, err := netip.ParsePrefix(n.String())
		if err != nil {
			return nil, fmt.Errorf("service range: %w", err)
		}
		a.flag = append(a.flag, p.Masked())
	}
	a.pools = a.flag
	switch {
	case len(a.flag) == 0:
		return nil, errors.New("no range for cluster IPs is given")
	case len(a.flag) > 2, len(a.flag) == 2 && a.flag[0].Addr().Is4() == a.flag[1].Addr().Is4():
		return nil, errors.New("cluster IPs take one range, or two of different families")
	case ports.Size <= 0:
		return nil, errors.New("the range of node ports is empty")
	}
	return a, nil
}

// Run follows services, ranges and addresses until ctx ends, and repairs what does not fit together.
func (a *Allocator) Run(ctx context.Context) error {
	a.repairs = client.NewQueue[repair]("ipallocator-repair-controller")
	a.events = client.NewRecorder(ctx, a.c, "ipallocator-repair-controller", "")
	f := client.NewInformers(a.c)
	a.svcs = client.InformerFor(f, client.Services)
	a.cidrs = client.InformerFor(f, client.ServiceCIDRs)
	a.objects = client.InformerFor(f, client.IPAddresses)
	a.svcs.OnChange(a.serviceChanged)
	a.objects.OnChange(a.addressChanged)
	a.cidrs.OnChange(func(_, _ *networkingv1.ServiceCIDR) { a.rangesChanged() })
	f.Start(ctx)
	if err := f.WaitForSync(ctx); err != nil {
		return nil
	}
	a.rangesChanged()
	select {
	case <-a.ready: // run again after a failure
	default:
		close(a.ready)
	}
	client.RunWorkers(ctx, a.repairs, repairWorkers, a.repair)
	return nil
}

func (a *Allocator) serviceChanged(old, new *corev1.Service) {
	a.mu.Lock()
	if old != nil {
		a.forget(old, new)
	}
	if new != nil {
		a.note(new)
	}
	a.mu.Unlock()
	if new != nil {
		a.repairs.Add(repair{service: object.KeyOf(new)})
	}
	if old != nil {
		for _, ip := range addresses(old) {
			a.repairs.Add(repair{address: ip})
		}
	}
}

func (a *Allocator) addressChanged(old, new *networkingv1.IPAddress) {
	name := ""
	if new != nil {
		name = new.Name
	} else {
		name = old.Name
	}
	ip, err := netip.ParseAddr(name)
	if err != nil {
		return // no name that validation lets in
	}
	a.mu.Lock()
	if new != nil {
		a.named[ip] = struct{}{}
	} else {
		delete(a.named, ip)
	}
	a.mu.Unlock()
	a.repairs.Add(repair{address: ip})
}

// note marks what a stored service holds as taken; mu is held.
func (a *Allocator) note(s *corev1.Service) {
	key := object.KeyOf(s)
	for _, ip := range addresses(s) {
		a.ips[ip] = key
	}
	for _, p := range nodePorts(s) {
		a.taken[p] = key
	}
}

// forget frees what old held and new (which may be nil) does not; mu is held. It gives the addresses.
func (a *Allocator) forget(old, new *corev1.Service) (freed []netip.Addr) {
	key := object.KeyOf(old)
	keptIPs, keptPorts := map[netip.Addr]bool{}, map[int]bool{}
	if new != nil {
		for _, ip := range addresses(new) {
			keptIPs[ip] = true
		}
		for _, p := range nodePorts(new) {
			keptPorts[p] = true
		}
	}
	for _, ip := range addresses(old) {
		if !keptIPs[ip] && a.ips[ip] == key {
			delete(a.ips, ip)
			freed = append(freed, ip)
		}
	}
	for _, p := range nodePorts(old) {
		if !keptPorts[p] && a.taken[p] == key {
			delete(a.taken, p)
		}
	}
	return freed
}

// Hook completes a service on its way to the store. It has the form of the server's write hooks: commit is to be
// called when the write was stored, rollback when it was not.
func (a *Allocator) Hook(ctx context.Context, obj, old object.Object, dryRun bool) (commit, rollback func(), err error) {
	select {
	case <-a.ready:
	case <-ctx.Done():
		return nil, nil, apierrors.NewServerTimeout(client.Services.GVR.GroupResource(), "allocate", 1)
	}
	was, _ := old.(*corev1.Service)
	s, _ := obj.(*corev1.Service)
	if s == nil {
		return func() { a.release(ctx, was, nil) }, nil, nil
	}
	t := &taking{a: a, key: object.KeyOf(s), dry: dryRun}
	errs := a.families(s, was)
	if len(errs) == 0 {
		errs = append(errs, a.addresses(ctx, s, was, t)...)
	}
	if len(errs) == 0 {
		a.mu.Lock()
		errs = append(errs, a.nodePorts(s, was, t)...)
		a.mu.Unlock()
	}
	switch {
	case t.err != nil:
		t.undo(ctx)
		return nil, nil, t.err
	case len(errs) > 0:
		t.undo(ctx)
		return nil, nil, apierrors.NewInvalid(corev1.SchemeGroupVersion.WithKind("Service").GroupKind(), s.Name, errs)
	case dryRun:
		t.undo(ctx)
		return nil, nil, nil
	}
	final := s.DeepCopy()
	commit = func() {
		if was != nil {
			a.release(ctx, was, final)
		}
	}
	return commit, func() { t.undo(ctx) }, nil
}

// release frees what a write that was stored took from the service.
func (a *Allocator) release(ctx context.Context, old, new *corev1.Service) {
	if old == nil {
		return
	}
	kept := map[netip.Addr]bool{}
	if new != nil {
		for _, ip := range addresses(new) {
			kept[ip] = true
		}
	}
	for _, ip := range addresses(old) {
		if !kept[ip] {
			a.unname(ctx, ip, object.KeyOf(old))
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.forget(old, new)
}

// taking is what one write took so far.
type taking struct {
	a     *Allocator
	key   object.Key
	dry   bool
	ips   []netip.Addr
	made  []netip.Addr // IPAddress objects
	ports []int
	err   error // what kept it from going on, which is not the service's fault
}

func (t *taking) undo(ctx context.Context) {
	for _, ip := range t.made {
		t.a.unname(ctx, ip, t.key)
	}
	t.a.mu.Lock()
	defer t.a.mu.Unlock()
	for _, ip := range t.ips {
		delete(t.a.ips, ip)
	}
	for _, p := range t.ports {
		delete(t.a.taken, p)
	}
	t.ips, t.ports, t.made = nil, nil, nil
}

// addresses are the cluster IPs that a service holds.
func addresses(s *corev1.Service) []netip.Addr {
	var all []netip.Addr
	for _, text := range clusterIPs(s) {
		if ip, err := netip.ParseAddr(text); err == nil { // "None" and "" are no addresses
			all = append(all, ip)
		}
	}
	return all
}

func clusterIPs(s *corev1.Service) []string {
	if len(s.Spec.ClusterIPs) > 0 || s.Spec.ClusterIP == "" {
		return s.Spec.ClusterIPs
	}
	return []string{s.Spec.ClusterIP}
}

func nodePorts(s *corev1.Service) []int {
	var all []int
	for _, p := range s.Spec.Ports {
		if p.NodePort != 0 {
			all = append(all, int(p.NodePort))
		}
	}
	if s.Spec.HealthCheckNodePort != 0 {
		all = append(all, int(s.Spec.HealthCheckNodePort))
	}
	return all
}

var spec = field.NewPath("spec")
