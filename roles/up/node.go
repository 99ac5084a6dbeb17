package up

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"path/filepath"

	"hyperkube/internal/client"
	"hyperkube/internal/lifecycle"
	"hyperkube/internal/network/cni"
	"hyperkube/internal/network/dns"
	"hyperkube/internal/network/overlay"
	"hyperkube/internal/network/proxy"
	"hyperkube/internal/node/cri"
	"hyperkube/internal/runtime"
	"hyperkube/roles/kubelet"
	proxyrole "hyperkube/roles/proxy"
)

// worker is the node's part of a machine.
type worker struct {
	cfg Config
	// api is the API under the node's own identity, for all parts: see configs/rbac/joining.yaml for why.
	api client.Interface
	// kubeletArgs are the flags that differ between a master's kubelet and others.
	kubeletArgs []string
	// offline tells that the API server is away, so that the node cannot become Ready now.
	offline bool
	engine  chan engine // nil without a kubelet
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
		var r *runtime.Runtime
		err := lifecycle.Guard(func() (err error) {
			r, err = runtime.Start(ctx, runtime.Config{
				Root: cfg.Layout.Containerd(), State: cfg.Layout.ContainerdState(), Socket: cfg.Layout.ContainerdSocket(), CNIConfDir: cfg.Layout.CNIConf(),
				RegistryDir: cfg.RegistryDir,
			})
			return err
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
	if w.cfg.Disabled["flannel"] || w.cfg.Disabled["dns"] {
		g.Start(lifecycle.Part{Name: "dns", Run: w.withdrawDNS})
	}
	if !w.cfg.Disabled["proxy"] {
		run, err := lifecycle.Renewed(w.newProxy)
		if err != nil {
			return err
		}
		g.Start(lifecycle.Part{Name: "proxy", Run: run})
	}
	if w.engine == nil {
		return nil
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
	return w.startKubelet(ctx, g, e.endpoint)
}

func (w *worker) newProxy() (*proxy.Proxy, error) {
	cfg, err := proxyrole.FromArgs(w.cfg.args("proxy",
		"--hostname-override="+w.cfg.NodeName, "--cluster-cidr="+w.cfg.PodCIDR.String(), "--healthz-bind-address="+w.cfg.NodeIP.String()+":10256",
		// The kernel's limits are the whole machine's, and would stay when the node is gone.
		"--conntrack-max-per-core=0", "--conntrack-min=0", "--conntrack-tcp-timeout-established=0", "--conntrack-tcp-timeout-close-wait=0",
	))
	if err != nil {
		return nil, err
	}
	return proxy.New(w.api, cfg)
}

// startNetwork runs the overlay, and the pod network in the subnet that the overlay was given.
func (w *worker) startNetwork(g *lifecycle.Group) error {
	conf, err := w.cfg.netConf()
	if err != nil {
		return err
	}
	ip, ok := netip.AddrFromSlice(w.cfg.NodeIP)
	if !ok {
		return fmt.Errorf("the node's address %s is not understood", w.cfg.NodeIP)
	}
	o, err := overlay.New(w.api, overlay.Config{NodeName: w.cfg.NodeName, NetConf: conf, PublicIP: ip.Unmap()})
	if err != nil {
		return err
	}
	if w.cfg.CNIBinDir != "" {
		if err := runtime.LayOutCNI(w.cfg.CNIBinDir, cni.DefaultPluginName); err != nil {
			return err
		}
	}
	c, err := cni.New(cni.Config{
		Socket: w.cfg.Layout.CNISocket(), StateDir: w.cfg.Layout.CNIState(), ConfDir: cmp.Or(w.cfg.CNIConfDir, w.cfg.Layout.CNIConf()), BridgeName: w.cfg.Bridge,
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

// withdrawDNS takes back what a start with a name server announced.
func (w *worker) withdrawDNS(ctx context.Context) error {
	return dns.Announce(ctx, w.api, w.cfg.NodeName, nil)
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
	s, err := dns.New(w.api, dns.Config{
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
	l := w.cfg.Layout
	cfg, err := kubelet.FromArgs(w.cfg.args("kubelet", append(w.kubeletArgs,
		"--hostname-override="+w.cfg.NodeName, "--node-ip="+w.cfg.NodeIP.String(), "--address="+w.cfg.NodeIP.String(),
		"--root-dir="+l.Kubelet(), "--cert-dir="+l.PKI(), "--pod-logs-dir="+l.PodLogs(), "--cgroup-root="+l.CgroupParent(),
		"--pod-manifest-path="+l.StaticPods(),
	)...))
	if err != nil {
		return err
	}
	// Links to the logs in /var/log would be outside of the node's directories.
	cfg.Client, cfg.CRI, cfg.ContainerLogsDir = w.api, c, l.ContainerLogs()
	var k *kubelet.Kubelet // the first
	run, err := lifecycle.Renewed(func() (*kubelet.Kubelet, error) {
		next, err := kubelet.New(ctx, cfg)
		if k == nil {
			k = next
		}
		return next, err
	})
	if err != nil {
		return err
	}
	g.Start(lifecycle.Part{Name: "kubelet", Run: run})
	if w.offline {
		return nil
	}
	select {
	case <-k.Ready():
		return nil
	case <-g.Failed():
		return g.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// kubeletArgs are those of the kubelet beside the control plane: its certificate is the master's to make.
func (m *master) kubeletArgs() []string {
	return []string{
		"--cluster-dns=" + m.cfg.DNSIP.String(), "--cluster-domain=" + m.cfg.ClusterDomain, "--fail-swap-on=false",
		"--client-ca-file=" + filepath.Join(m.cfg.Layout.PKI(), "ca.crt"),
		"--tls-cert-file=" + m.pki.KubeletServer.CertFile, "--tls-private-key-file=" + m.pki.KubeletServer.KeyFile,
	}
}

// memberKubeletArgs are those of a kubelet elsewhere: the cluster's settings, and a certificate that the cluster issues.
func (c *Config) memberKubeletArgs() []string {
	return []string{"--config=" + c.Layout.KubeletConfig(), "--client-ca-file=" + c.clusterCA(), "--rotate-server-certificates"}
}
