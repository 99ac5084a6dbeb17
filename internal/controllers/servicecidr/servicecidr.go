// Package servicecidr says which ranges services get their addresses from, and keeps one that is deleted until no service
// needs it any more (KEP-1880).
//
// Watches: ServiceCIDRs, IPAddresses. Writes: the finalizer and the condition Ready of ServiceCIDRs. A range that is being deleted
// is not Ready, so that API servers take no more addresses from it; it goes when each address in it that is a
// service's lies in another range as well.
package servicecidr

import (
	"context"
	"net/netip"
	"slices"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/client"
	"hyperkube/internal/controllers"
)

// Name is upstream's name of the controller.
const Name = "service-cidr-controller"

const (
	// Finalizer keeps a range that is in use.
	Finalizer = "networking.k8s.io/service-cidr-finalizer"
	managedBy = "ipallocator.k8s.io" // of addresses that are services'
	// settling is how long a deleted range that looks unused is kept: an API server that does not know yet may just take an address.
	settling = 10 * time.Second
)

type controller struct {
	client    client.Interface
	ranges    *client.Informer[*networkingv1.ServiceCIDR]
	addresses *client.Informer[*networkingv1.IPAddress]
	queue     *client.Queue[string]
	workers   int
}

// New registers the controller.
func New(d controllers.Deps, workers int) controllers.Controller {
	c := &controller{
		client:    d.Client("service-cidrs-controller"),
		ranges:    client.InformerFor(d.Informers, client.ServiceCIDRs),
		addresses: client.InformerFor(d.Informers, client.IPAddresses),
		queue:     client.NewQueue[string](Name),
		workers:   workers,
	}
	c.ranges.OnChange(func(_, new *networkingv1.ServiceCIDR) {
		if new != nil {
			c.queue.Add(new.Name)
		}
		c.wake() // this one may cover what another needs, or do so no more
	})
	c.addresses.OnChange(func(_, new *networkingv1.IPAddress) {
		if new == nil {
			c.wake()
		}
	})
	return c
}

// wake looks again at the ranges that wait for their end.
func (c *controller) wake() {
	for _, r := range c.ranges.List() {
		if r.DeletionTimestamp != nil {
			c.queue.Add(r.Name)
		}
	}
}

func (c *controller) Name() string { return Name }

func (c *controller) Run(ctx context.Context) error {
	client.RunWorkers(ctx, c.queue, c.workers, c.reconcile)
	return nil
}

func (c *controller) reconcile(ctx context.Context, name string) error {
	r, ok := c.ranges.Get("", name)
	if !ok {
		return nil
	}
	var err error
	if r.DeletionTimestamp == nil {
		err = c.keep(ctx, r)
	} else {
		err = c.end(ctx, r)
	}
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) { // the cache is behind, and what it will show wakes us
		return nil
	}
	return err
}

// keep protects a range and gives it out.
func (c *controller) keep(ctx context.Context, r *networkingv1.ServiceCIDR) error {
	if !slices.Contains(r.Finalizers, Finalizer) {
		next := r.DeepCopy()
		next.Finalizers = append(next.Finalizers, Finalizer)
		var err error
		if r, err = client.ServiceCIDRs.Update(ctx, c.client, next); err != nil {
			return err
		}
	}
	if meta.IsStatusConditionTrue(r.Status.Conditions, networkingv1.ServiceCIDRConditionReady) {
		return nil
	}
	return c.say(ctx, r, metav1.ConditionTrue, "", "Kubernetes Service CIDR is ready")
}

// end takes a range out of use, and lets it go when nothing needs it.
func (c *controller) end(ctx context.Context, r *networkingv1.ServiceCIDR) error {
	if !slices.Contains(r.Finalizers, Finalizer) {
		return nil
	}
	needed := c.needed(r)
	if needed && !meta.IsStatusConditionFalse(r.Status.Conditions, networkingv1.ServiceCIDRConditionReady) {
		return c.say(ctx, r, metav1.ConditionFalse, networkingv1.ServiceCIDRReasonTerminating,
			"There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR")
	}
	if needed {
		return nil
	}
	if wait := settling - time.Since(r.DeletionTimestamp.Time); wait > 0 && !c.covered(r) {
		c.queue.AddAfter(r.Name, wait)
		return nil
	}
	next := r.DeepCopy()
	next.Finalizers = slices.DeleteFunc(next.Finalizers, func(f string) bool { return f == Finalizer })
	_, err := client.ServiceCIDRs.Update(ctx, c.client, next)
	return err
}

func (c *controller) say(ctx context.Context, r *networkingv1.ServiceCIDR, ready metav1.ConditionStatus, reason, message string) error {
	next := r.DeepCopy()
	meta.SetStatusCondition(&next.Status.Conditions, metav1.Condition{
		Type: networkingv1.ServiceCIDRConditionReady, Status: ready, Reason: reason, Message: message,
	})
	_, err := client.ServiceCIDRs.UpdateStatus(ctx, c.client, next)
	return err
}

// needed tells whether some service has an address of the range that no other one has.
func (c *controller) needed(r *networkingv1.ServiceCIDR) bool {
	own := prefixes(r)
	others := c.others(r)
	for _, a := range c.addresses.List() {
		if a.Labels[networkingv1.LabelManagedBy] != managedBy {
			continue
		}
		ip, err := netip.ParseAddr(a.Name)
		in := func(p netip.Prefix) bool { return p.Contains(ip) }
		if err == nil && slices.ContainsFunc(own, in) && !slices.ContainsFunc(others, in) {
			return true
		}
	}
	return false
}

// covered tells whether each part of the range lies in another one.
func (c *controller) covered(r *networkingv1.ServiceCIDR) bool {
	others := c.others(r)
	for _, p := range prefixes(r) {
		if !slices.ContainsFunc(others, func(o netip.Prefix) bool { return o.Bits() <= p.Bits() && o.Contains(p.Addr()) }) {
			return false
		}
	}
	return true
}

// others are the parts of all other ranges that stay.
func (c *controller) others(r *networkingv1.ServiceCIDR) []netip.Prefix {
	var out []netip.Prefix
	for _, o := range c.ranges.List() {
		if o.Name != r.Name && o.DeletionTimestamp == nil {
			out = append(out, prefixes(o)...)
		}
	}
	return out
}

func prefixes(r *networkingv1.ServiceCIDR) []netip.Prefix {
	var out []netip.Prefix
	for _, text := range r.Spec.CIDRs {
		if p, err := netip.ParsePrefix(text); err == nil { // validation lets nothing else in
			out = append(out, p.Masked())
		}
	}
	return out
}
