package up

import (
	"context"
	"fmt"
	"net/netip"

	"hyperkube/internal/client"
	"hyperkube/internal/lifecycle"
	"hyperkube/internal/network/cni"
	"hyperkube/internal/network/dns"
	"hyperkube/internal/network/overlay"
	"hyperkube/internal/network/proxy"
	"hyperkube/internal/node"
	"hyperkube/internal/node/cri"
	"hyperkube/internal/node/server"
	"hyperkube/internal/runtime"
)

// access is how the parts of a node reach the API, each under its own identity.
type access struct {
	kubelet, flannel, proxy, dns client.Interface
}

// worker is the node's part of a machine.
type worker struct {
	cfg     Config
	api     access
	kubelet *node.Kubelet
	serving *server.Config
	engine  chan engine
}

// engine is the container runtime once it is up.
type engine struct {
	endpoint string
	runtime  *runtime.Runtime // nil when it is not ours
	err      error
}

// startEngine starts the container runtime in the background: it needs nothing of the cluster.
func startEngine(ctx context.Context, cfg Config) chan engine {
	out := make(chan engine, 1)
	if cfg.RuntimeEndpoint != "" {
		out <- engine{endpoint: cfg.RuntimeEndpoint}
		return out
	}
	go func() {
		r, err := runtime.Start(ctx, runtime.Config{
			Root: cfg.Layout.Containerd(), State: cfg.Layout.ContainerdState(), Socket: cfg.Layout.ContainerdSocket(), CNIConfDir: cfg.Layout.CNIConf(),
		})
		if err != nil {
			out <- engine{err: err}
			return
		}
		out <- engine{endpoint: r.Endpoint(), runtime: r}
	}()
	return out
}

// start runs the parts of the node in the group and returns when the kubelet says that it is Ready.
func (w *worker) start(ctx context.Context, g *lifecycle.Group) error {
	if !w.cfg.Disabled["flannel"] {
		if err := w.startNetwork(g); err != nil {
			return err
		}
	}
	if !w.cfg.Disabled["proxy"] {
		p, err := proxy.New(w.api.proxy, proxy.Config{
			NodeName: w.cfg.NodeName, ClusterCIDRs: []netip.Prefix{w.cfg.PodCIDR},
			HealthzAddress: w.cfg.NodeIP.String() + ":10256", MetricsAddress: "127.0.0.1:10249",
		})
		if err != nil {
			return err
		}
		g.Start(lifecycle.Part{Name: "proxy", Run: p.Run})
	}
	var e engine
	select {
	case e = <-w.engine:
	case <-ctx.Done():
		return ctx.Err()
	}
	if e.err != nil {
		return e.err
	}
	if e.runtime != nil {
		g.Start(lifecycle.Part{Name: "containerd", Run: func(ctx context.Context) error {
			select {
			case <-ctx.Done():
				e.runtime.Stop()
				return nil
			case <-e.runtime.Failed():
				return lifecycle.Fatal(fmt.Errorf("the container runtime failed; see the log"))
			}
		}})
	}
	if w.cfg.Disabled["kubelet"] {
		return nil
	}
	return w.startKubelet(ctx, g, e.endpoint)
}

// startNetwork runs the overlay, and the pod network in the subnet that the overlay was given.
func (w *worker) startNetwork(g *lifecycle.Group) error {
	conf := overlay.DefaultNetConf(w.cfg.PodCIDR)
	if w.cfg.OverlayBackend != "" {
		conf.Backend.Type = w.cfg.OverlayBackend
	}
	ip, ok := netip.AddrFromSlice(w.cfg.NodeIP)
	if !ok {
		return fmt.Errorf("the node's address %s is not understood", w.cfg.NodeIP)
	}
	o, err := overlay.New(w.api.flannel, overlay.Config{NodeName: w.cfg.NodeName, NetConf: conf, PublicIP: ip.Unmap()})
	if err != nil {
		return err
	}
	c, err := cni.New(cni.Config{
		Socket: w.cfg.Layout.CNISocket(), StateDir: w.cfg.Layout.CNIState(), ConfDir: w.cfg.Layout.CNIConf(), BridgeName: w.cfg.Bridge,
		Network: func(ctx context.Context, previous cni.Network) (cni.Network, error) {
			was := overlay.Lease{MTU: previous.MTU}
			if len(previous.Subnets) > 0 {
				was.Subnet = previous.Subnets[0]
			}
			l, err := o.Lease(ctx, was)
			if err != nil {
				return cni.Network{}, err
			}
			return cni.Network{Subnets: []netip.Prefix{l.Subnet}, MTU: l.MTU}, nil
		},
	})
	if err != nil {
		return err
	}
	g.Start(lifecycle.Part{Name: "flannel", Run: o.Run})
	g.Start(lifecycle.Part{Name: "cni", Run: c.Run})
	if !w.cfg.Disabled["dns"] {
		g.Start(lifecycle.Part{Name: "dns", Run: func(ctx context.Context) error { return w.runDNS(ctx, c) }})
	}
	return nil
}

// runDNS serves the cluster's names on the pods' bridge, as soon as there is one.
func (w *worker) runDNS(ctx context.Context, pods *cni.Server) error {
	select {
	case <-pods.Ready():
	case <-ctx.Done():
		return nil
	}
	network, _ := pods.Network()
	ip, ok := netip.AddrFromSlice(w.cfg.DNSIP)
	if !ok {
		return lifecycle.Fatal(fmt.Errorf("the DNS address %s is not understood", w.cfg.DNSIP))
	}
	s, err := dns.New(w.api.dns, dns.Config{
		BindAddresses: network.Gateways(), Domain: w.cfg.ClusterDomain, NodeName: w.cfg.NodeName, ClusterIP: ip.Unmap(),
	})
	if err != nil {
		return err
	}
	return s.Run(ctx)
}

func (w *worker) startKubelet(ctx context.Context, g *lifecycle.Group, endpoint string) error {
	c, err := cri.Dial(endpoint, endpoint)
	if err != nil {
		return err
	}
	w.kubelet, err = node.New(node.Config{
		Client: w.api.kubelet, CRI: c,
		NodeName: w.cfg.NodeName, NodeIPs: []string{w.cfg.NodeIP.String()},
		RootDir: w.cfg.Layout.Kubelet(), PodLogsDir: w.cfg.Layout.PodLogs(),
		CgroupRoot: w.cfg.Layout.CgroupParent(),
		ClusterDNS: []string{w.cfg.DNSIP.String()}, ClusterDomain: w.cfg.ClusterDomain,
		Server:         w.serving,
		HealthzAddress: "127.0.0.1:10248",
	})
	if err != nil {
		return err
	}
	g.Start(lifecycle.Part{Name: "kubelet", Run: w.kubelet.Run})
	select {
	case <-w.kubelet.Ready():
		return nil
	case <-g.Failed():
		return g.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}
