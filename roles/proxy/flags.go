package proxy

import (
	"cmp"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/kube-proxy/config/v1alpha1"
	"k8s.io/utils/ptr"

	"hyperkube/internal/client"
	"hyperkube/internal/command"
	"hyperkube/internal/config"
	"hyperkube/internal/logging"
	"hyperkube/internal/network/proxy"
)

// FromArgs reads the work's flags from a list, for whoever runs it together with others: how to reach the API server is theirs
// to know.
func FromArgs(args []string) (proxy.Config, error) {
	return command.FromArgs("proxy", ownFlags, args, func(c *cli.Context) (proxy.Config, error) {
		file, err := configFile(c)
		if err != nil {
			return proxy.Config{}, err
		}
		return work(c, file)
	})
}

func ownFlags() []cli.Flag {
	const api, node, rules, tracking, serving = "API server", "Node", "Rules", "Connection tracking", "Serving"
	str := func(category, name, value, usage string) cli.Flag {
		return &cli.StringFlag{Category: category, Name: name, Value: value, Usage: usage}
	}
	dur := func(category, name string, value time.Duration, usage string) cli.Flag {
		return &cli.DurationFlag{Category: category, Name: name, Value: value, Usage: usage}
	}
	yes := func(category, name string, value bool, usage string) cli.Flag {
		return &cli.BoolFlag{Category: category, Name: name, Value: value, Usage: usage}
	}
	own := []cli.Flag{
		str(api, "config", "", "`FILE` with a KubeProxyConfiguration (kubeproxy.config.k8s.io/v1alpha1)"),
		str(api, "kubeconfig", "", "`FILE` that tells how to reach the API server and under which identity"),
		str(api, "master", "", "`URL` of the API server, in place of the kubeconfig's"),
		yes(rules, "cleanup", false, "remove all rules of the proxy and exit"),
		str(node, "hostname-override", "", "`NAME` of the node; the machine's host name without"),
		str(node, "bind-address", "0.0.0.0", "the node's own `ADDRESS` where it is not the Node object's"),
		str(rules, "proxy-mode", "iptables", "`MODE`: iptables"),
		str(rules, "cluster-cidr", "", "`RANGES` of pods' addresses: traffic to cluster addresses from elsewhere is masqueraded"),
		str(rules, "detect-local-mode", "ClusterCIDR", "`MODE` of recognising pods' traffic: ClusterCIDR, NodeCIDR, BridgeInterface, InterfaceNamePrefix"),
		str(rules, "pod-bridge-interface", "", "`INTERFACE` for BridgeInterface"),
		str(rules, "pod-interface-name-prefix", "", "`PREFIX` for InterfaceNamePrefix"),
		yes(rules, "masquerade-all", false, "masquerade all traffic to cluster addresses"),
		&cli.IntFlag{Category: rules, Name: "iptables-masquerade-bit", Value: 14, Usage: "`BIT` of the packet mark that asks for masquerading"},
		yes(rules, "iptables-localhost-nodeports", true, "serve node ports at 127.0.0.1 too"),
		&cli.StringSliceFlag{Category: rules, Name: "nodeport-addresses", Usage: "`RANGES` of the node's addresses at which node ports are served, or \"primary\""},
		dur(rules, "iptables-sync-period", time.Hour, "`TIME` after which all rules are written anew"),
		dur(rules, "iptables-min-sync-period", 0, "shortest `TIME` between two writes"),
		&cli.IntFlag{Category: tracking, Name: "conntrack-max-per-core", Value: 32768, Usage: "`NUMBER` of connections tracked per core; 0 leaves the kernel's limit"},
		&cli.IntFlag{Category: tracking, Name: "conntrack-min", Value: 131072, Usage: "`NUMBER` of connections tracked at least"},
		dur(tracking, "conntrack-tcp-timeout-established", 24*time.Hour, "`TIME` that an idle connection is kept; 0 leaves the kernel's"),
		dur(tracking, "conntrack-tcp-timeout-close-wait", time.Hour, "`TIME` that one half closed is kept"),
		dur(tracking, "conntrack-udp-timeout", 0, "`TIME` that an unanswered UDP flow is kept"),
		dur(tracking, "conntrack-udp-timeout-stream", 0, "`TIME` that an answered UDP flow is kept"),
		yes(tracking, "conntrack-tcp-be-liberal", false, "let packets outside of the window through"),
		str(serving, "healthz-bind-address", "0.0.0.0:10256", "`ADDRESS` of the health check; empty serves none"),
		str(serving, "metrics-bind-address", "127.0.0.1:10249", "`ADDRESS` of the metrics; empty serves none"),
		yes(serving, "bind-address-hard-fail", false, "end when an address cannot be bound"),
		yes(serving, "profiling", false, "serve /debug/pprof with the metrics"),
		&cli.IntFlag{Category: node, Name: "oom-score-adj", Value: -999, Usage: "`SCORE` that keeps the kernel from ending the process, where it may be set"},
	}
	return slices.Concat(own, foreign.Flags())
}

// setting takes a value from its flag, if that is given, else from the file, if that has one, else from the flag's default.
func setting[T any](c *cli.Context, flag string, get func(string) T, file T, inFile bool) T {
	if inFile && !c.IsSet(flag) {
		return file
	}
	return get(flag)
}

func fromFlags(c *cli.Context) (Config, error) {
	file, err := configFile(c)
	if err != nil {
		return Config{}, err
	}
	if err := logging.Configure(c, file.Logging.Format, int(file.Logging.Verbosity)); err != nil {
		return Config{}, err
	}
	p, err := work(c, file)
	if err != nil {
		return Config{}, err
	}
	score := setting(c, "oom-score-adj", c.Int, int(ptr.Deref(file.OOMScoreAdj, 0)), file.OOMScoreAdj != nil)
	if c.IsSet("oom-score-adj") || file.OOMScoreAdj != nil {
		// Where the process may not have the score it does its work all the same.
		if err := os.WriteFile("/proc/self/oom_score_adj", fmt.Appendf(nil, "%d", score), 0o644); err != nil {
			slog.Default().Warn("the score for when memory runs out was not set", "component", "kube-proxy", "score", score, "error", err)
		}
	}
	r, err := client.Find(cmp.Or(c.String("kubeconfig"), file.ClientConnection.Kubeconfig), c.String("master"))
	if err != nil {
		return Config{}, fmt.Errorf("%w (--kubeconfig, --master)", err)
	}
	return Config{REST: r, Proxy: p}, nil
}

func configFile(c *cli.Context) (*v1alpha1.KubeProxyConfiguration, error) {
	var file v1alpha1.KubeProxyConfiguration
	if path := c.String("config"); path != "" {
		if err := config.LoadKind(path, schema.GroupVersionKind{Group: v1alpha1.GroupName, Version: "v1alpha1", Kind: "KubeProxyConfiguration"}, &file); err != nil {
			return nil, err
		}
	}
	return &file, nil
}

// work is what to do, without the API server.
func work(c *cli.Context, file *v1alpha1.KubeProxyConfiguration) (proxy.Config, error) {
	if err := foreign.Check(c); err != nil {
		return proxy.Config{}, err
	}
	text := func(flag, inFile string) string { return setting(c, flag, c.String, inFile, inFile != "") }
	truth := func(flag string, inFile bool) bool { return setting(c, flag, c.Bool, inFile, inFile) }
	duration := func(flag string, inFile *metav1.Duration) time.Duration {
		return setting(c, flag, c.Duration, ptr.Deref(inFile, metav1.Duration{}).Duration, inFile != nil)
	}
	nonzero := func(d metav1.Duration) *metav1.Duration {
		if d.Duration == 0 {
			return nil
		}
		return &d
	}
	number := func(flag string, inFile *int32) int {
		return setting(c, flag, c.Int, int(ptr.Deref(inFile, 0)), inFile != nil)
	}
	if mode := text("proxy-mode", string(file.Mode)); mode != "iptables" {
		return proxy.Config{}, fmt.Errorf("--proxy-mode: %q is not supported; only iptables", mode)
	}
	name, err := nodeName(text("hostname-override", file.HostnameOverride))
	if err != nil {
		return proxy.Config{}, err
	}
	bit := number("iptables-masquerade-bit", file.IPTables.MasqueradeBit)
	p := proxy.Config{
		NodeName:             name,
		DetectLocalMode:      text("detect-local-mode", string(file.DetectLocalMode)),
		BridgeInterface:      text("pod-bridge-interface", file.DetectLocal.BridgeInterface),
		InterfaceNamePrefix:  text("pod-interface-name-prefix", file.DetectLocal.InterfaceNamePrefix),
		NodePortAddresses:    setting(c, "nodeport-addresses", c.StringSlice, file.NodePortAddresses, len(file.NodePortAddresses) > 0),
		MasqueradeAll:        truth("masquerade-all", file.IPTables.MasqueradeAll),
		MasqueradeBit:        &bit,
		NoLocalhostNodePorts: !setting(c, "iptables-localhost-nodeports", c.Bool, ptr.Deref(file.IPTables.LocalhostNodePorts, true), file.IPTables.LocalhostNodePorts != nil),
		SyncPeriod:           duration("iptables-sync-period", nonzero(file.IPTables.SyncPeriod)),
		MinSyncPeriod:        duration("iptables-min-sync-period", nonzero(file.IPTables.MinSyncPeriod)),
		Conntrack: proxy.Conntrack{
			MaxPerCore:            number("conntrack-max-per-core", file.Conntrack.MaxPerCore),
			Min:                   number("conntrack-min", file.Conntrack.Min),
			TCPEstablishedTimeout: duration("conntrack-tcp-timeout-established", file.Conntrack.TCPEstablishedTimeout),
			TCPCloseWaitTimeout:   duration("conntrack-tcp-timeout-close-wait", file.Conntrack.TCPCloseWaitTimeout),
			UDPTimeout:            duration("conntrack-udp-timeout", nonzero(file.Conntrack.UDPTimeout)),
			UDPStreamTimeout:      duration("conntrack-udp-timeout-stream", nonzero(file.Conntrack.UDPStreamTimeout)),
			TCPBeLiberal:          truth("conntrack-tcp-be-liberal", file.Conntrack.TCPBeLiberal),
		},
		HealthzAddress: text("healthz-bind-address", file.HealthzBindAddress),
		MetricsAddress: text("metrics-bind-address", file.MetricsBindAddress),
		BindHardFail:   truth("bind-address-hard-fail", file.BindAddressHardFail),
		Profiling:      truth("profiling", file.EnableProfiling),
	}
	if err := addresses(c, file, &p); err != nil {
		return p, err
	}
	p.Configz = configz(file, &p)
	return p, nil
}

// addresses reads the flags that are lists of addresses or ranges.
func addresses(c *cli.Context, file *v1alpha1.KubeProxyConfiguration, p *proxy.Config) error {
	ranges := setting(c, "cluster-cidr", c.String, file.ClusterCIDR, file.ClusterCIDR != "")
	for _, s := range strings.Split(ranges, ",") {
		if s == "" {
			continue
		}
		r, err := netip.ParsePrefix(strings.TrimSpace(s))
		if err != nil {
			return fmt.Errorf("--cluster-cidr: %w", err)
		}
		p.ClusterCIDRs = append(p.ClusterCIDRs, r)
	}
	bind := setting(c, "bind-address", c.String, file.BindAddress, file.BindAddress != "")
	ip, err := netip.ParseAddr(bind)
	if err != nil {
		return fmt.Errorf("--bind-address: %w", err)
	}
	if !ip.IsUnspecified() {
		p.NodeIPs = []netip.Addr{ip}
	}
	for flag, a := range map[string]*string{"healthz-bind-address": &p.HealthzAddress, "metrics-bind-address": &p.MetricsAddress} {
		if *a == "" {
			continue
		}
		if _, _, err := net.SplitHostPort(*a); err != nil {
			return fmt.Errorf("--%s: %w", flag, err)
		}
	}
	return nil
}

func nodeName(override string) (string, error) {
	if override != "" {
		return strings.ToLower(strings.TrimSpace(override)), nil
	}
	host, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("the machine's host name: %w", err)
	}
	return strings.ToLower(host), nil
}
