// Package services gives services what is scarce: cluster IPs and node ports.
//
// [Allocator.Hook] sees each write of a service between validation and store. What a service asks for by value it gets or is
// refused; what it leaves open is chosen at random, so that an address freed a moment ago is seldom the next one taken. As KEP-3070
// and KEP-3668 describe, choice starts in the upper part of each range and leaves the lower part to those who
// ask by value. A write that then is not stored gives back what it took.
//
// The allocator knows what is taken from the services themselves: it reads all of them before the first allocation
// and follows their changes, so a crash between two writes leaves nothing behind that a restart does not mend.
package services

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"hyperkube/internal/client"
	"hyperkube/internal/object"
)

// Allocator hands out addresses and ports. It is safe for concurrent use.
type Allocator struct {
	ranges []netip.Prefix // the first is the cluster's primary family
	ports  utilnet.PortRange

	ready chan struct{}
	c     client.Interface

	mu    sync.Mutex
	ips   map[netip.Addr]object.Key
	taken map[int]object.Key // node ports
}

// New makes an allocator of one or two ranges of addresses (of different families) and one of ports.
// Nothing is allocated before Run has read the services that are there.
func New(c client.Interface, cidrs []*net.IPNet, ports utilnet.PortRange) (*Allocator, error) {
	a := &Allocator{c: c, ports: ports, ready: make(chan struct{}), ips: map[netip.Addr]object.Key{}, taken: map[int]object.Key{}}
	for _, n := range cidrs {
		p, err := netip.ParsePrefix(n.String())
		if err != nil {
			return nil, fmt.Errorf("service range: %w", err)
		}
		a.ranges = append(a.ranges, p.Masked())
	}
	switch {
	case len(a.ranges) == 0:
		return nil, errors.New("no range for cluster IPs is given")
	case len(a.ranges) > 2, len(a.ranges) == 2 && a.ranges[0].Addr().Is4() == a.ranges[1].Addr().Is4():
		return nil, errors.New("cluster IPs take one range, or two of different families")
	case ports.Size <= 0:
		return nil, errors.New("the range of node ports is empty")
	}
	return a, nil
}

// Run follows the services until ctx ends.
func (a *Allocator) Run(ctx context.Context) error {
	f := client.NewInformers(a.c)
	svcs := client.InformerFor(f, client.Services)
	svcs.OnChange(func(old, new *corev1.Service) {
		a.mu.Lock()
		defer a.mu.Unlock()
		if old != nil {
			a.forget(old, new)
		}
		if new != nil {
			a.note(new)
		}
	})
	f.Start(ctx)
	if err := svcs.WaitForSync(ctx); err != nil {
		return nil
	}
	select {
	case <-a.ready: // run again after a failure
	default:
		close(a.ready)
	}
	<-ctx.Done()
	return nil
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

// forget frees what old held and new (which may be nil) does not; mu is held.
func (a *Allocator) forget(old, new *corev1.Service) {
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
		}
	}
	for _, p := range nodePorts(old) {
		if !keptPorts[p] && a.taken[p] == key {
			delete(a.taken, p)
		}
	}
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
		return func() { a.release(was, nil) }, nil, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	t := &taking{a: a, key: object.KeyOf(s)}
	errs := a.families(s, was)
	if len(errs) == 0 {
		errs = append(errs, a.addresses(s, was, t)...)
	}
	if len(errs) == 0 {
		errs = append(errs, a.nodePorts(s, was, t)...)
	}
	if len(errs) > 0 {
		t.undo()
		return nil, nil, apierrors.NewInvalid(corev1.SchemeGroupVersion.WithKind("Service").GroupKind(), s.Name, errs)
	}
	if dryRun {
		t.undo()
		return nil, nil, nil
	}
	final := s.DeepCopy()
	commit = func() {
		if was != nil {
			a.release(was, final)
		}
	}
	return commit, func() { a.mu.Lock(); defer a.mu.Unlock(); t.undo() }, nil
}

func (a *Allocator) release(old, new *corev1.Service) {
	if old == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.forget(old, new)
}

// taking is what one write took so far.
type taking struct {
	a     *Allocator
	key   object.Key
	ips   []netip.Addr
	ports []int
}

func (t *taking) undo() {
	for _, ip := range t.ips {
		delete(t.a.ips, ip)
	}
	for _, p := range t.ports {
		delete(t.a.taken, p)
	}
	t.ips, t.ports = nil, nil
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
