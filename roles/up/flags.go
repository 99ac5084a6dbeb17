package up

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/urfave/cli/v2"
	utilnet "k8s.io/apimachinery/pkg/util/net"

	"hyperkube/internal/cluster"
	"hyperkube/internal/join"
	"hyperkube/internal/tokens"
)

// flagReader takes each setting from its flag, if that is given, else from an earlier start, else from the flag's default.
type flagReader struct {
	*cli.Context
	errs []error
}

func (r *flagReader) text(flag, before string) string {
	if before != "" && !r.IsSet(flag) {
		return before
	}
	return r.String(flag)
}

func (r *flagReader) fail(flag string, err error) {
	if err != nil {
		r.errs = append(r.errs, fmt.Errorf("--%s: %w", flag, err))
	}
}

// fromFlags is for `up`: a master, or a node that joined earlier.
func fromFlags(c *cli.Context) (Config, error) {
	r := &flagReader{Context: c}
	cfg, n, err := r.node()
	if err != nil {
		return cfg, err
	}
	if n.Name != "" && !n.Master {
		cfg.Join = &Join{Server: n.Server}
		return cfg, cfg.recall(n)
	}
	cfg.Kubeconfig, cfg.ClusterDomain = c.String("kubeconfig"), r.text("cluster-domain", n.ClusterDomain)
	cfg.OverlayBackend = r.text("overlay-backend", n.Overlay)
	if cfg.APIPort = c.Int("secure-port"); n.APIPort != 0 && !c.IsSet("secure-port") {
		cfg.APIPort = n.APIPort
	}
	if cfg.APINames = c.StringSlice("tls-san"); !c.IsSet("tls-san") {
		cfg.APINames = n.APINames
	}
	cfg.PodCIDR, err = netip.ParsePrefix(r.text("cluster-cidr", n.PodCIDR))
	r.fail("cluster-cidr", err)
	_, cfg.ServiceCIDR, err = net.ParseCIDR(r.text("service-cluster-ip-range", n.ServiceCIDR))
	r.fail("service-cluster-ip-range", err)
	ports, err := utilnet.ParsePortRange(r.text("service-node-port-range", n.NodePorts))
	r.fail("service-node-port-range", err)
	if err == nil {
		cfg.NodePorts = *ports
	}
	if b := cfg.OverlayBackend; b != "vxlan" && b != "host-gw" {
		r.fail("overlay-backend", fmt.Errorf("%q is neither vxlan nor host-gw", b))
	}
	return cfg, errors.Join(r.errs...)
}

// node reads what every node has, and what an earlier start left.
func (r *flagReader) node() (Config, cluster.Node, error) {
	cfg := Config{Disabled: map[string]bool{}, Verbose: r.Int("v"), Args: argsOf(r.Context)}
	var n cluster.Node
	var err error
	if cfg.Layout, err = cluster.NewLayout(r.String("data-dir"), r.String("run-dir")); err != nil {
		return cfg, n, err
	}
	if n, err = cfg.Layout.LoadNode(); err != nil && !errors.Is(err, cluster.ErrNoNode) && !errors.Is(err, os.ErrPermission) {
		return cfg, n, err
	}
	for _, d := range r.StringSlice("disable") {
		cfg.Disabled[d] = true
	}
	cfg.NodeName, cfg.Bridge = r.text("node-name", n.Name), r.text("bridge", n.Bridge)
	cfg.RuntimeEndpoint = r.text("container-runtime-endpoint", n.RuntimeEndpoint)
	if cfg.RuntimeEndpoint != "" {
		cfg.CNIConfDir, cfg.CNIBinDir = r.text("cni-conf-dir", n.CNIConfDir), r.text("cni-bin-dir", n.CNIBinDir)
	}
	cfg.RegistryDir = r.text("registry-dir", n.RegistryDir)
	if ip := r.text("node-ip", n.IP); ip != "" {
		if cfg.NodeIP = net.ParseIP(ip); cfg.NodeIP == nil {
			return cfg, n, fmt.Errorf("--node-ip: %q is not an IP address", ip)
		}
		cfg.GivenIP = true
	}
	for _, f := range []string{"node-labels", "register-with-taints"} {
		if v := r.String(f); v != "" {
			cfg.Args["kubelet"] = append([]string{"--" + f + "=" + v}, cfg.Args["kubelet"]...)
		}
	}
	return cfg, n, nil
}

// recall takes over what a node that joined earlier has learnt from its cluster.
func (c *Config) recall(n cluster.Node) error {
	if c.NodeName != n.Name {
		return fmt.Errorf("this data directory is that of node %q, whose certificate is good for no other name; `hyperkube reset` first", n.Name)
	}
	c.ClusterDomain, c.OverlayBackend = n.ClusterDomain, n.Overlay
	if n.PodCIDR == "" {
		return nil // it was let in and then never started
	}
	var errs [2]error
	c.PodCIDR, errs[0] = netip.ParsePrefix(n.PodCIDR)
	_, c.ServiceCIDR, errs[1] = net.ParseCIDR(n.ServiceCIDR)
	c.DNSIP = net.ParseIP(n.ClusterDNS)
	return errors.Join(errs[:]...)
}

// joinFromFlags is for `join`.
func joinFromFlags(c *cli.Context, others []string) (Config, error) {
	r := &flagReader{Context: c}
	cfg, n, err := r.node()
	if err != nil {
		return cfg, err
	}
	if len(others) > 1 {
		return cfg, fmt.Errorf("unexpected argument %q", others[1])
	}
	cfg.Join = &Join{}
	for _, p := range c.StringSlice("ca-cert-hash") {
		if err := join.CheckPin(p); err != nil {
			return cfg, fmt.Errorf("--ca-cert-hash: %w", err)
		}
		cfg.Join.Pins = append(cfg.Join.Pins, strings.ToLower(p))
	}
	if len(others) == 1 {
		cfg.Join.Server = strings.TrimSuffix(others[0], "/")
	}
	if cfg.Join.Token, err = tokenOf(c); err != nil {
		return cfg, err
	}
	switch {
	case n.Name == "" && cfg.Join.Server == "":
		return cfg, errors.New("which cluster? Give the URL of its API server, https://HOST:6443")
	case n.Name == "":
		return cfg, nil
	case n.Master:
		return cfg, fmt.Errorf("this machine is the master of a cluster (data directory %s); `hyperkube reset` ends that", cfg.Layout.Data)
	case cfg.Join.Server != "" && cfg.Join.Server != n.Server:
		return cfg, fmt.Errorf("this machine is a node of the cluster at %s; `hyperkube reset` makes it free for another", n.Server)
	}
	cfg.Join.Server = n.Server
	return cfg, cfg.recall(n)
}

// tokenOf is the token, from wherever it was given; nil when it was not.
func tokenOf(c *cli.Context) (*tokens.Bootstrap, error) {
	text := c.String("token")
	if file := c.String("token-file"); file != "" {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("--token-file: %w", err)
		}
		text = strings.TrimSpace(string(data))
	}
	if text == "" {
		return nil, nil
	}
	t, err := tokens.ParseBootstrap(text)
	if err != nil {
		return nil, fmt.Errorf("--token: %w", err)
	}
	return &t, nil
}
