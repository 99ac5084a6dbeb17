package overlay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"hyperkube/internal/client"
	"hyperkube/internal/network/apply"
)

// RulesCheck is how often the packet filter rules are looked at when nothing else happens.
const RulesCheck = 5 * time.Minute

// Config of an [Overlay]. Only NodeName and NetConf.Network have no default.
type Config struct {
	NodeName string
	NetConf  NetConf
	// Ifaces name the interface to the other nodes, by name or address, and IfaceRegexes by patterns; the first
	// that exists is used. Without, it is that of PublicIP or of the default route.
	Ifaces, IfaceRegexes []string
	// PublicIP is the address at which other nodes reach this one; the interface's by default.
	PublicIP netip.Addr
	// NoMasq leaves out the masquerade rules, NoForward those that let pods' packets be forwarded.
	NoMasq, NoForward bool
	// Device is the vxlan interface's name, flannel.<VNI> by default.
	Device string
	// SubnetFile is where to write what CNI plugins need to know (/run/flannel/subnet.env); empty writes none.
	SubnetFile string
	// AnnotationPrefix is DefaultPrefix by default.
	AnnotationPrefix string
	// KeepCondition leaves the node condition NetworkUnavailable alone.
	KeepCondition bool
	// Log is slog.Default by default.
	Log *slog.Logger
}

func (c *Config) complete() error {
	if c.NodeName == "" {
		return errors.New("overlay: NodeName is needed")
	}
	if !c.NetConf.Network.IsValid() {
		return ErrNoNetwork
	}
	c.NetConf.complete()
	if err := c.NetConf.validate(); err != nil {
		return err
	}
	if c.Device == "" {
		c.Device = fmt.Sprintf("flannel.%d", c.NetConf.Backend.VNI)
	}
	if c.AnnotationPrefix == "" {
		c.AnnotationPrefix = DefaultPrefix
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	c.Log = c.Log.With("component", "flannel")
	return nil
}

// Lease is this node's part of the overlay.
type Lease struct {
	Subnet netip.Prefix
	// MTU of pods' interfaces, in bytes.
	MTU int
}

// Overlay keeps one node in the overlay. Make it with [New], then call [Overlay.Run] once.
type Overlay struct {
	cfg Config
	c   client.Interface

	nodes   *client.Informer[*corev1.Node]
	factory *client.Informers

	mu      sync.Mutex
	lease   Lease
	changed chan struct{} // closed when lease changes
	ready   chan struct{}
	dirty   map[string]bool // names of nodes that changed
	wake    chan struct{}
}

// New checks the configuration. It changes nothing in the kernel.
func New(c client.Interface, cfg Config) (*Overlay, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	return &Overlay{
		cfg: cfg, c: c, changed: make(chan struct{}), ready: make(chan struct{}),
		dirty: map[string]bool{}, wake: make(chan struct{}, 1),
	}, nil
}

// Ready is closed once the node takes part: its interface, routes and annotations are made.
func (o *Overlay) Ready() <-chan struct{} { return o.ready }

// Lease blocks until this node has a lease that differs from previous, whose zero value asks for the first.
func (o *Overlay) Lease(ctx context.Context, previous Lease) (Lease, error) {
	for {
		o.mu.Lock()
		lease, changed := o.lease, o.changed
		o.mu.Unlock()
		if lease != previous && lease.Subnet.IsValid() {
			return lease, nil
		}
		select {
		case <-ctx.Done():
			return Lease{}, ctx.Err()
		case <-changed:
		}
	}
}

func (o *Overlay) setLease(l Lease) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.lease != l {
		o.lease = l
		close(o.changed)
		o.changed = make(chan struct{})
	}
}

// Run takes part in the overlay until ctx ends. The kernel keeps everything then, so that pods stay connected while the process
// restarts.
func (o *Overlay) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	o.factory = client.NewInformers(o.c)
	o.nodes = client.InformerFor(o.factory, client.Nodes)
	o.nodes.OnChange(o.onNode)
	o.factory.Start(ctx)
	if err := o.factory.WaitForSync(ctx); err != nil {
		return ended(ctx, err)
	}
	up, err := findUplink(o.cfg.Ifaces, o.cfg.IfaceRegexes, o.cfg.PublicIP)
	if err != nil {
		return err
	}
	subnet, err := o.waitForSubnet(ctx)
	if err != nil {
		return ended(ctx, err)
	}
	return ended(ctx, o.run(ctx, up, subnet))
}

func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// onNode notes what changed; it is called from the informer and must not block.
func (o *Overlay) onNode(old, new *corev1.Node) {
	n := new
	if n == nil {
		n = old
	}
	if old != nil && new != nil && n.Name != o.cfg.NodeName {
		before, a, errA := peerOf(old, o.cfg.AnnotationPrefix)
		after, b, errB := peerOf(new, o.cfg.AnnotationPrefix)
		if before == after && a == b && errA == nil && errB == nil {
			return // the status changed, as it does all the time
		}
	}
	o.mu.Lock()
	o.dirty[n.Name] = true
	o.mu.Unlock()
	o.signal()
}

func (o *Overlay) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

func (o *Overlay) waitForSubnet(ctx context.Context) (netip.Prefix, error) {
	told := false
	for {
		if n, ok := o.nodes.Get("", o.cfg.NodeName); ok {
			if s, ok := subnetOf(n); ok {
				return s, nil
			}
		}
		if !told {
			told = true
			o.cfg.Log.Info("waiting for the node's pod subnet", "node", o.cfg.NodeName)
		}
		select {
		case <-ctx.Done():
			return netip.Prefix{}, ctx.Err()
		case <-o.wake:
		}
	}
}

// run makes the node's part and keeps it until ctx ends or the node's subnet changes its mind.
func (o *Overlay) run(ctx context.Context, up uplink, subnet netip.Prefix) error {
	public := o.cfg.PublicIP
	if !public.IsValid() {
		public = up.address
	}
	events, err := watchKernel(ctx)
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		next, err := o.serve(ctx, up, subnet, o.overwritten(public), events)
		if err != nil {
			return err
		}
		subnet = next
	}
	return nil
}

// overwritten is the public address that an administrator put on the node for this node's, for nodes behind
// address translation.
func (o *Overlay) overwritten(public netip.Addr) netip.Addr {
	if n, ok := o.nodes.Get("", o.cfg.NodeName); ok {
		if ip, err := netip.ParseAddr(n.Annotations[o.cfg.AnnotationPrefix+annOverwrite]); err == nil {
			return ip
		}
	}
	return public
}

// serve keeps one subnet in the overlay. It returns the node's new subnet when that changes.
func (o *Overlay) serve(ctx context.Context, up uplink, subnet netip.Prefix, public netip.Addr, events *kernelEvents) (netip.Prefix, error) {
	if !o.cfg.NetConf.Network.Contains(subnet.Addr()) {
		return subnet, fmt.Errorf("the node's pod subnet %v is outside of the cluster's %v", subnet, o.cfg.NetConf.Network)
	}
	k, err := newKernel(o.cfg.NetConf, up, o.cfg.Device, subnet, public)
	if err != nil {
		return subnet, err
	}
	if err := apply.Sysctl("net/ipv4/ip_forward", "1"); err != nil {
		return subnet, err
	}
	o.setLease(Lease{Subnet: subnet, MTU: k.mtu})
	rules := &ruleKeeper{cluster: o.cfg.NetConf.Network, subnet: subnet, masq: !o.cfg.NoMasq, forward: !o.cfg.NoForward}
	if rules.tools, err = apply.Detect(ctx, apply.IPv4); err != nil {
		return subnet, err
	}
	if err := rules.ensure(ctx); err != nil {
		return subnet, err
	}
	if err := o.writeSubnetFile(k); err != nil {
		return subnet, err
	}
	for _, n := range o.nodes.List() {
		o.takePeer(k, n.Name, false)
	}
	if err := k.sync(); err != nil {
		return subnet, err
	}
	if err := o.announce(ctx, k); err != nil {
		return subnet, err
	}
	o.cfg.Log.Info("node is in the overlay", "backend", k.backend.Type, "subnet", subnet, "publicIP", public, "mtu", k.mtu, "uplink", up.name)
	select {
	case <-o.ready:
	default:
		close(o.ready)
	}
	return o.follow(ctx, k, rules, events)
}

func (o *Overlay) follow(ctx context.Context, k *kernel, rules *ruleKeeper, events *kernelEvents) (netip.Prefix, error) {
	tick := time.NewTicker(RulesCheck)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return k.self.subnet, nil
		case <-o.wake:
			next, err := o.takeChanges(ctx, k)
			if err != nil || next != k.self.subnet {
				return next, err
			}
		case <-events.lost:
			if !events.concern(k) {
				continue
			}
			o.cfg.Log.Warn("somebody changed the overlay's interface or routes, putting them back")
			mac := k.self.mac
			if err := k.sync(); err != nil {
				return k.self.subnet, err
			}
			if mac != k.self.mac {
				if err := o.announce(ctx, k); err != nil {
					return k.self.subnet, err
				}
			}
			o.ensureRules(ctx, rules)
		case <-tick.C:
			o.ensureRules(ctx, rules)
		}
	}
}

func (o *Overlay) ensureRules(ctx context.Context, rules *ruleKeeper) {
	if err := rules.ensure(ctx); err != nil && ctx.Err() == nil {
		o.cfg.Log.Error("cannot keep the packet filter rules", "err", err)
	}
}

// takeChanges acts on the nodes that changed and gives the own node's subnet.
func (o *Overlay) takeChanges(ctx context.Context, k *kernel) (netip.Prefix, error) {
	o.mu.Lock()
	names := o.dirty
	o.dirty = map[string]bool{}
	o.mu.Unlock()
	for name := range names {
		if name != o.cfg.NodeName {
			o.takePeer(k, name, true)
			continue
		}
		n, ok := o.nodes.Get("", name)
		if !ok {
			continue // it registers again, or this node is being taken down
		}
		if s, ok := subnetOf(n); ok && s != k.self.subnet {
			return s, nil
		}
		if err := o.announce(ctx, k); err != nil {
			return k.self.subnet, err
		}
	}
	return k.self.subnet, nil
}

// takePeer brings one other node's state into k, and into the kernel if now is set.
func (o *Overlay) takePeer(k *kernel, name string, now bool) {
	if name == o.cfg.NodeName {
		return
	}
	var p peer
	n, ok := o.nodes.Get("", name)
	if ok {
		var err error
		if p, ok, err = peerOf(n, o.cfg.AnnotationPrefix); err == nil && ok {
			err = k.usable(p)
		}
		if err != nil {
			o.cfg.Log.Warn("a node cannot be reached through the overlay", "node", name, "err", err)
			ok = false
		}
	}
	var err error
	switch {
	case ok && now:
		err = k.set(name, p)
	case ok:
		k.peers[name] = p
	case now:
		err = k.remove(name)
	default:
		delete(k.peers, name)
	}
	if err != nil {
		o.cfg.Log.Error("cannot change the way to a node", "node", name, "err", err)
	}
}

func (o *Overlay) writeSubnetFile(k *kernel) error {
	if o.cfg.SubnetFile == "" {
		return nil
	}
	gateway := netip.PrefixFrom(k.self.subnet.Addr().Next(), k.self.subnet.Bits())
	text := fmt.Sprintf("FLANNEL_NETWORK=%v\nFLANNEL_SUBNET=%v\nFLANNEL_MTU=%d\nFLANNEL_IPMASQ=%v\n",
		o.cfg.NetConf.Network, gateway, k.mtu, !o.cfg.NoMasq)
	if err := os.MkdirAll(filepath.Dir(o.cfg.SubnetFile), 0o755); err != nil {
		return fmt.Errorf("subnet file: %w", err)
	}
	tmp := filepath.Join(filepath.Dir(o.cfg.SubnetFile), ".subnet.env.tmp")
	if err := os.WriteFile(tmp, []byte(text), 0o644); err != nil {
		return fmt.Errorf("subnet file: %w", err)
	}
	if err := os.Rename(tmp, o.cfg.SubnetFile); err != nil {
		return fmt.Errorf("subnet file: %w", err)
	}
	return nil
}
