// Package nodeipam gives every node its range of pod addresses: spec.podCIDRs, one of each family that
// the cluster has, cut from --cluster-cidr.
//
// Watches: Nodes. Writes: Node spec.podCIDR(s), events "CIDRAssignmentFailed". Ranges are given out by one worker from
// an allocator in memory, which is filled from the nodes in the cache before the first is given out; a range
// goes back when its node is deleted.
package nodeipam

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/record"

	"hyperkube/internal/client"
	"hyperkube/internal/controllers"
)

// Name is upstream's name of the controller.
const Name = "node-ipam-controller"

// Options say what is given out.
type Options struct {
	ClusterCIDRs []netip.Prefix // one, or one of each family
	MaskV4       int            // bits of an IPv4 range of a node; 0 is 24
	MaskV6       int            // of an IPv6 range; 0 is 64
	// Reserved ranges are never given out: the services' ranges, where they lie inside.
	Reserved []netip.Prefix
}

type controller struct {
	client client.Interface
	events record.EventRecorder
	nodes  *client.Informer[*corev1.Node]
	queue  *client.Queue[string]
	ranges []*ranges
}

// New registers the controller. Options that fit no node are an error.
func New(d controllers.Deps, o Options) (controllers.Controller, error) {
	c := &controller{
		client: d.Client("node-controller"),
		events: d.Recorder("cidrAllocator"),
		nodes:  client.InformerFor(d.Informers, client.Nodes),
		queue:  client.NewQueue[string](Name),
	}
	for _, p := range o.ClusterCIDRs {
		bits := or(o.MaskV4, 24)
		if p.Addr().Is6() {
			bits = or(o.MaskV6, 64)
		}
		r, err := newRanges(p, bits)
		if err != nil {
			return nil, err
		}
		for _, reserved := range o.Reserved {
			r.take(reserved)
		}
		c.ranges = append(c.ranges, r)
	}
	if len(c.ranges) == 0 {
		return nil, fmt.Errorf("node ranges cannot be given out without --cluster-cidr")
	}
	c.nodes.OnChange(c.changed)
	return c, nil
}

func or(n, otherwise int) int {
	if n == 0 {
		return otherwise
	}
	return n
}

func (c *controller) Name() string { return Name }

// Run takes what nodes have already before it gives anything out.
func (c *controller) Run(ctx context.Context) error {
	for _, n := range c.nodes.List() {
		c.note(n)
	}
	client.RunWorkers(ctx, c.queue, 1, c.reconcile)
	return nil
}

func (c *controller) changed(old, new *corev1.Node) {
	if old != nil && (new == nil || old.UID != new.UID) {
		for _, p := range prefixes(old) {
			for _, r := range c.ranges {
				r.giveBack(p)
			}
		}
	}
	switch {
	case new == nil:
	case len(new.Spec.PodCIDRs) == 0:
		c.queue.Add(new.Name)
	default:
		c.note(new)
	}
}

func (c *controller) note(n *corev1.Node) {
	for _, p := range prefixes(n) {
		for _, r := range c.ranges {
			r.take(p)
		}
	}
}

func prefixes(n *corev1.Node) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range n.Spec.PodCIDRs {
		if p, err := netip.ParsePrefix(s); err == nil {
			out = append(out, p)
		}
	}
	return out
}

func (c *controller) reconcile(ctx context.Context, name string) error {
	n, ok := c.nodes.Get("", name)
	if !ok || len(n.Spec.PodCIDRs) > 0 {
		return nil
	}
	var got []netip.Prefix
	back := func() {
		for i, p := range got {
			c.ranges[i].giveBack(p)
		}
	}
	var cidrs []string
	for _, r := range c.ranges {
		p, err := r.next()
		if err != nil {
			back()
			c.events.Eventf(n, corev1.EventTypeNormal, "CIDRNotAvailable", "Node %s status is now: CIDRNotAvailable", n.Name)
			return err
		}
		got = append(got, p)
		cidrs = append(cidrs, p.String())
	}
	written, err := c.write(ctx, name, cidrs)
	if err != nil || !slices.Equal(written, cidrs) {
		back()
	}
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		c.events.Eventf(n, corev1.EventTypeNormal, "CIDRAssignmentFailed", "Node %s status is now: CIDRAssignmentFailed", n.Name)
	}
	return err
}

// write sets the node's ranges unless it has some, and returns those that it has then. On an error
// nothing is known to be written; a range written all the same comes back through the cache.
func (c *controller) write(ctx context.Context, name string, cidrs []string) ([]string, error) {
	got, err := client.Nodes.Modify(ctx, c.client, "", name, func(n *corev1.Node) bool {
		if len(n.Spec.PodCIDRs) > 0 {
			return false
		}
		n.Spec.PodCIDRs, n.Spec.PodCIDR = cidrs, cidrs[0]
		return true
	})
	if err != nil {
		return nil, err
	}
	return got.Spec.PodCIDRs, nil
}
