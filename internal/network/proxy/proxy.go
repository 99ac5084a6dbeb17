package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"

	"hyperkube/internal/client"
	"hyperkube/internal/lifecycle"
	"hyperkube/internal/network/apply"
	"hyperkube/internal/network/plan"
)

// Proxy serves Services on one node. Make it with [New], then call [Proxy.Run] once.
type Proxy struct {
	cfg     Config
	c       client.Interface
	tracker *tracker
	metrics *metrics
	health  *healthServer
	nodes   *client.Informer[*corev1.Node]

	ready  chan struct{}
	redo   chan string // why everything must be written anew
	tables []*table
}

// New checks the configuration. It changes nothing in the kernel.
func New(c client.Interface, cfg Config) (*Proxy, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	p := &Proxy{cfg: cfg, c: c, tracker: newTracker(), ready: make(chan struct{}), redo: make(chan string, 1)}
	p.metrics = newMetrics(cfg.Metrics)
	p.health = newHealthServer(cfg.Log)
	return p, nil
}

// Ready is closed once the first full set of rules is in the kernel.
func (p *Proxy) Ready() <-chan struct{} { return p.ready }

// Run keeps the rules until ctx ends. They stay in the kernel then, so that Services work while the process restarts;
// [Cleanup] removes them.
func (p *Proxy) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := p.prepareKernel(ctx); err != nil {
		return err
	}
	f := client.NewInformers(p.c)
	mine, err := proxied()
	if err != nil {
		return err
	}
	services := client.InformerWith(f, client.Services, client.Select{Labels: mine.String()})
	endpoints := client.InformerWith(f, client.EndpointSlices, client.Select{Labels: mine.String()})
	p.nodes = client.InformerWith(f, client.Nodes, client.Select{Fields: "metadata.name=" + p.cfg.NodeName})
	services.OnChange(func(old, new *corev1.Service) { p.metrics.serviceChanges.Inc(); p.tracker.service(old, new) })
	endpoints.OnChange(func(old, new *discoveryv1.EndpointSlice) {
		p.metrics.endpointChanges.Inc()
		p.tracker.slice(old, new)
	})
	p.nodes.OnChange(p.onNode)
	f.Start(ctx)
	if err := f.WaitForSync(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	stop, err := p.serveHTTP(ctx)
	if err != nil {
		return err
	}
	defer stop()
	defer p.health.close()
	go func() {
		_ = lifecycle.Persist(ctx, "kube-proxy", func(ctx context.Context) error { p.watchFlushes(ctx); return nil })
	}()
	p.loop(ctx)
	return nil
}

// proxied selects Services and EndpointSlices that a proxy has to do with.
func proxied() (labels.Selector, error) {
	s := labels.NewSelector()
	for _, l := range []string{corev1.IsHeadlessService, "service.kubernetes.io/service-proxy-name"} {
		r, err := labels.NewRequirement(l, selection.DoesNotExist, nil)
		if err != nil {
			return nil, err
		}
		s = s.Add(*r)
	}
	return s, nil
}

func (p *Proxy) prepareKernel(ctx context.Context) error {
	for _, f := range p.cfg.Families {
		tools, err := apply.Detect(ctx, apply.Family(f))
		if err != nil {
			if f == int(apply.IPv6) && len(p.cfg.Families) > 1 {
				p.cfg.Log.Info("no IPv6 services on this node", "reason", err)
				continue
			}
			return err
		}
		p.tables = append(p.tables, newTable(tools, p.cfg.Log))
	}
	if err := p.cfg.Conntrack.apply(p.cfg.Log); err != nil {
		return err
	}
	if !p.cfg.NoLocalhostNodePorts {
		// Packets from 127.0.0.1 to a node port leave by another interface once their destination is translated.
		return apply.Sysctl("net/ipv4/conf/all/route_localnet", "1")
	}
	return nil
}

// onNode has everything written anew when what rules depend on changed.
func (p *Proxy) onNode(old, new *corev1.Node) {
	if old != nil && new != nil && old.Labels[corev1.LabelTopologyZone] == new.Labels[corev1.LabelTopologyZone] &&
		slices.Equal(old.Status.Addresses, new.Status.Addresses) && slices.Equal(old.Spec.PodCIDRs, new.Spec.PodCIDRs) {
		p.health.setNode(new)
		return
	}
	p.health.setNode(new)
	p.askFull("the node changed")
}

func (p *Proxy) askFull(why string) {
	select {
	case p.redo <- why:
	default: // it is going to happen already
	}
}

// loop writes what changed until ctx ends.
func (p *Proxy) loop(ctx context.Context) {
	resync := time.NewTicker(p.cfg.SyncPeriod)
	defer resync.Stop()
	retry := time.NewTimer(0) // the first write
	defer retry.Stop()
	full, wait := true, time.Duration(0)
	var last time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case why := <-p.redo:
			p.cfg.Log.Debug("writing all rules anew", "reason", why)
			full = true
		case <-resync.C:
			full = true
		case <-retry.C:
		case <-p.tracker.wake:
		}
		if wait > 0 && time.Since(last) < wait { // a failed write waits for its turn
			continue
		}
		if rest := p.cfg.MinSyncPeriod - time.Since(last); rest > 0 && !last.IsZero() {
			retry.Reset(rest)
			select {
			case <-ctx.Done():
				return
			case <-retry.C:
			}
		}
		err := p.sync(ctx, full)
		last = time.Now()
		if err == nil {
			full, wait = false, 0
			continue
		}
		if ctx.Err() != nil {
			return
		}
		full = true
		wait = min(max(2*wait, 500*time.Millisecond), 30*time.Second)
		p.cfg.Log.Error("cannot write the service rules", "err", err, "retryIn", wait)
		retry.Reset(wait)
	}
}

// sync writes what changed, or everything.
func (p *Proxy) sync(ctx context.Context, full bool) error {
	began := time.Now()
	for _, t := range p.tables {
		full = full || !t.whole
	}
	ch := p.tracker.take(full)
	if !full && len(ch.states) == 0 {
		return nil
	}
	var errs []error
	var done []replaced
	for _, t := range p.tables {
		var r []replaced
		var err error
		if full {
			var cfg plan.Config
			if cfg, err = p.planConfig(t.tools); err == nil {
				r, err = t.full(ctx, cfg, ch.states)
			}
		} else {
			r, err = t.update(ctx, ch.states)
		}
		done = append(done, r...)
		if err == nil {
			err = forgetStale(t.tools.Family, r, full)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%v: %w", t.tools.Family, err))
		}
	}
	err := errors.Join(errs...)
	p.metrics.synced(began, full, err, ch.triggers)
	if err != nil {
		return err
	}
	p.health.setPorts(p.tables)
	p.health.synced()
	if slices.ContainsFunc(p.tables, (*table).outgrown) {
		p.askFull("there are many more or fewer endpoints")
	}
	if full {
		select {
		case <-p.ready:
		default:
			p.cfg.Log.Info("service rules are written", "services", len(ch.states), "took", time.Since(began))
			close(p.ready)
		}
	}
	p.cfg.Log.Debug("wrote service rules", "services", len(done), "full", full, "took", time.Since(began))
	return nil
}

// planConfig is what rules depend on besides Services, as of now.
func (p *Proxy) planConfig(tools *apply.IPTables) (plan.Config, error) {
	ipv6 := tools.Family == apply.IPv6
	c := plan.Config{
		IPv6: ipv6, Node: plan.Node{Name: p.cfg.NodeName}, NodeIPs: family(p.cfg.NodeIPs, ipv6),
		MasqueradeAll: p.cfg.MasqueradeAll, MasqueradeBit: *p.cfg.MasqueradeBit, RandomFully: tools.RandomFully,
		LocalhostNodePorts: !p.cfg.NoLocalhostNodePorts && !ipv6, LiberalTCP: p.cfg.Conntrack.TCPBeLiberal,
		Local: plan.LocalDetector{Interface: p.cfg.interfaceMatch()},
	}
	cidrs := p.cfg.ClusterCIDRs
	if n, ok := p.nodes.Get("", p.cfg.NodeName); ok {
		c.Node.Zone = n.Labels[corev1.LabelTopologyZone]
		if len(p.cfg.NodeIPs) == 0 {
			c.NodeIPs = family(nodeAddresses(n), ipv6)
		}
		if p.cfg.DetectLocalMode == LocalNodeCIDR {
			cidrs = nodeCIDRs(n)
		}
	} else if p.cfg.DetectLocalMode == LocalNodeCIDR {
		cidrs = nil
	}
	for _, cidr := range cidrs {
		if cidr.Addr().Is6() == ipv6 && (p.cfg.DetectLocalMode == LocalClusterCIDR || p.cfg.DetectLocalMode == LocalNodeCIDR) {
			c.Local.CIDR = cidr.Masked()
		}
	}
	var err error
	c.NodePortIPs, c.NoNodePorts, err = p.nodePortIPs(ipv6, c.NodeIPs)
	return c, err
}

// nodePortIPs resolves Config.NodePortAddresses to addresses of this node. None at all means everywhere.
func (p *Proxy) nodePortIPs(ipv6 bool, primary []netip.Addr) (ips []netip.Addr, none bool, err error) {
	if len(p.cfg.NodePortAddresses) == 0 {
		return nil, false, nil
	}
	var ranges []netip.Prefix
	for _, a := range p.cfg.NodePortAddresses {
		switch a {
		case "all":
			return nil, false, nil
		case "primary":
			ips = append(ips, primary...)
		case "localhost":
			ranges = append(ranges, netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128"))
		default:
			r, err := netip.ParsePrefix(a)
			if err != nil {
				return nil, false, err
			}
			if r.Bits() == 0 && r.Addr().Is6() == ipv6 {
				return nil, false, nil
			}
			ranges = append(ranges, r.Masked())
		}
	}
	local, err := net.InterfaceAddrs()
	if err != nil {
		return nil, false, fmt.Errorf("this node's addresses: %w", err)
	}
	for _, a := range local {
		prefix, err := netip.ParsePrefix(a.String())
		if err != nil {
			continue
		}
		ip := prefix.Addr().Unmap()
		if ip.Is6() == ipv6 && slices.ContainsFunc(ranges, func(r netip.Prefix) bool { return r.Contains(ip) }) && !slices.Contains(ips, ip) {
			ips = append(ips, ip)
		}
	}
	return ips, len(ips) == 0, nil
}

func family(ips []netip.Addr, ipv6 bool) []netip.Addr {
	var out []netip.Addr
	for _, ip := range ips {
		if ip.Is6() == ipv6 {
			out = append(out, ip)
		}
	}
	return out
}

func nodeAddresses(n *corev1.Node) []netip.Addr {
	var out []netip.Addr
	for _, kind := range []corev1.NodeAddressType{corev1.NodeInternalIP, corev1.NodeExternalIP} {
		for _, a := range n.Status.Addresses {
			if ip, err := netip.ParseAddr(a.Address); err == nil && a.Type == kind {
				out = append(out, ip.Unmap())
			}
		}
	}
	return out
}

func nodeCIDRs(n *corev1.Node) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range append(slices.Clone(n.Spec.PodCIDRs), n.Spec.PodCIDR) {
		if p, err := netip.ParsePrefix(strings.TrimSpace(s)); err == nil && !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
}
