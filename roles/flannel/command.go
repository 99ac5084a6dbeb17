// Package flannel is the pod overlay as a role of its own, under flanneld's flags. It takes leases from the Kubernetes
// API (--kube-subnet-mgr), and works beside flanneld on other nodes.
package flannel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"github.com/vishvananda/netlink"
	"k8s.io/client-go/rest"

	"hyperkube/internal/client"
	"hyperkube/internal/command"
	"hyperkube/internal/flags"
	"hyperkube/internal/health"
	"hyperkube/internal/logging"
	"hyperkube/internal/network/overlay"
)

// Config of the role.
type Config struct {
	// REST reaches the API server.
	REST *rest.Config
	// Overlay is the work.
	Overlay overlay.Config
	// HealthzAddress is where /healthz is served; empty serves nothing.
	HealthzAddress string
	// Pod, as namespace and name, is the one that this process runs in: the node is its node where Overlay names none.
	Pod [2]string
}

// Role is an overlay that runs by itself.
type Role struct {
	cfg Config
	o   *overlay.Overlay
}

// New makes the role. It changes nothing in the kernel.
func New(cfg Config) (*Role, error) {
	if cfg.REST == nil {
		return nil, errors.New("no API server: give --kubeconfig-file or --kube-api-url")
	}
	c, err := client.NewREST(cfg.REST)
	if err != nil {
		return nil, err
	}
	if cfg.Overlay.NodeName == "" {
		if cfg.Overlay.NodeName, err = nodeName(c, cfg.Pod); err != nil {
			return nil, err
		}
	}
	o, err := overlay.New(c, cfg.Overlay)
	return &Role{cfg, o}, err
}

// nodeName is that of the pod's node, or else of the machine.
func nodeName(c client.Interface, pod [2]string) (string, error) {
	if pod[1] == "" {
		host, err := os.Hostname()
		if err != nil {
			return "", fmt.Errorf("the machine's host name: %w", err)
		}
		return strings.ToLower(host), nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	p, err := client.Pods.Get(ctx, c, pod[0], pod[1])
	if err != nil {
		return "", fmt.Errorf("the node of this pod: %w", err)
	}
	return p.Spec.NodeName, nil
}

// Run takes part in the overlay until ctx ends.
func (r *Role) Run(ctx context.Context) error {
	if r.cfg.HealthzAddress != "" {
		stop, err := health.Listen(r.cfg.HealthzAddress, health.Check{Name: "overlay", Func: r.check})
		if err != nil {
			return err
		}
		defer stop()
	}
	return r.o.Run(ctx)
}

func (r *Role) check(context.Context) error {
	select {
	case <-r.o.Ready():
		return nil
	default:
		return errors.New("the node is not in the overlay yet")
	}
}

// Command is the role's entry on the command line.
func Command() *cli.Command {
	return &cli.Command{
		Name:     "flannel",
		Aliases:  []string{"flanneld"},
		Category: "Node",
		Usage:    "join the pods of all nodes into one network",
		Flags:    append(ownFlags(), logging.Flags()...),
		Action:   command.Unless("cleanup", command.Logged(cleanup), command.Run(fromFlags, New)),
	}
}

func ownFlags() []cli.Flag {
	const api, node, rules, serving = "API server", "Node", "Rules", "Serving"
	str := func(category, name, value, usage string) cli.Flag {
		return &cli.StringFlag{Category: category, Name: name, Value: value, Usage: usage}
	}
	own := []cli.Flag{
		&cli.BoolFlag{Category: api, Name: "kube-subnet-mgr", Usage: "take leases from the Kubernetes API (the only way here)"},
		str(api, "kubeconfig-file", "", "`FILE` that tells how to reach the API server and under which identity"),
		str(api, "kube-api-url", "", "`URL` of the API server, in place of the kubeconfig's"),
		str(api, "kube-annotation-prefix", overlay.DefaultPrefix, "`PREFIX` of the annotations on Nodes"),
		&cli.StringFlag{Category: node, Name: "node-name", EnvVars: []string{"NODE_NAME"}, Usage: "`NAME` of the node; the machine's host name without"},
		&cli.StringSliceFlag{Category: node, Name: "iface", Usage: "`INTERFACE` (name or address) to the other nodes; the first that exists is used"},
		str(node, "iface-can-reach", "", "`ADDRESS` that the interface to the other nodes has a route to, after --iface and --iface-regex"),
		&cli.StringSliceFlag{Category: node, Name: "iface-regex", Usage: "`PATTERN` of the interface's name or address, after --iface"},
		str(node, "public-ip", "", "`ADDRESS` at which other nodes reach this one"),
		str(node, "net-config-path", "/etc/kube-flannel/net-conf.json", "`FILE` with the network's configuration"),
		str(node, "subnet-file", "/run/flannel/subnet.env", "`FILE` to write for CNI plugins"),
		&cli.BoolFlag{Category: rules, Name: "ip-masq", Usage: "masquerade what pods send out of the overlay"},
		&cli.BoolFlag{Category: rules, Name: "iptables-forward-rules", Value: true, Usage: "let packets of pods be forwarded"},
		&cli.BoolFlag{Category: node, Name: "set-node-network-unavailable", Value: true, Usage: "set the node's condition NetworkUnavailable to False"},
		str(serving, "healthz-ip", "0.0.0.0", "`ADDRESS` of the health check"),
		&cli.IntFlag{Category: serving, Name: "healthz-port", Usage: "`PORT` of the health check; 0 serves none"},
		&cli.BoolFlag{Category: node, Name: "cleanup", Usage: "remove everything that the role made on this machine and exit"},
	}
	for _, f := range own {
		environment(f)
	}
	return slices.Concat(own, foreign.Flags())
}

// environment lets FLANNELD_NAME stand for --name, as flanneld has it.
func environment(f cli.Flag) {
	name := "FLANNELD_" + strings.ToUpper(strings.ReplaceAll(f.Names()[0], "-", "_"))
	switch f := f.(type) {
	case *cli.StringFlag:
		f.EnvVars = append(f.EnvVars, name)
	case *cli.BoolFlag:
		f.EnvVars = append(f.EnvVars, name)
	case *cli.IntFlag:
		f.EnvVars = append(f.EnvVars, name)
	case *cli.StringSliceFlag:
		f.EnvVars = append(f.EnvVars, name)
	}
}

// foreign are flanneld's flags that have nothing to do here, and those that ask for what this role cannot do.
var foreign = flags.Foreign{{
	Why:   "leases are taken from the Kubernetes API only: give --kube-subnet-mgr",
	Texts: []string{"etcd-endpoints", "etcd-prefix", "etcd-keyfile", "etcd-certfile", "etcd-cafile", "etcd-username", "etcd-password"}, Refuse: true,
}, {
	Why: "leases of the Kubernetes API do not end, and rules are written when something changes", Numbers: []string{"subnet-lease-renew-margin", "iptables-resync"},
}, {
	Why: "the overlay is for IPv4", Refuse: true, Texts: []string{"public-ipv6"},
}, {
	Why: "packets to subnets that no node has are not dropped here", Refuse: true, Bools: []string{"blackhole-route", "ip-blackhole-route"},
}}

func fromFlags(c *cli.Context) (Config, error) {
	if err := foreign.Check(c); err != nil {
		return Config{}, err
	}
	if !c.Bool("kube-subnet-mgr") {
		return Config{}, errors.New("leases from etcd are not supported: give --kube-subnet-mgr")
	}
	conf, err := overlay.LoadNetConf(c.String("net-config-path"))
	if err != nil {
		return Config{}, err
	}
	o := overlay.Config{
		NodeName: strings.ToLower(c.String("node-name")), NetConf: conf, Ifaces: c.StringSlice("iface"), IfaceRegexes: c.StringSlice("iface-regex"),
		NoMasq: !c.Bool("ip-masq"), NoForward: !c.Bool("iptables-forward-rules"), SubnetFile: c.String("subnet-file"),
		AnnotationPrefix: c.String("kube-annotation-prefix"), KeepCondition: !c.Bool("set-node-network-unavailable"),
	}
	if s := c.String("iface-can-reach"); s != "" {
		name, err := towards(s)
		if err != nil {
			return Config{}, fmt.Errorf("--iface-can-reach: %w", err)
		}
		o.Ifaces = append(o.Ifaces, name)
	}
	if s := c.String("public-ip"); s != "" {
		if o.PublicIP, err = netip.ParseAddr(s); err != nil {
			return Config{}, fmt.Errorf("--public-ip: %w", err)
		}
	}
	cfg := Config{Overlay: o, Pod: [2]string{os.Getenv("POD_NAMESPACE"), os.Getenv("POD_NAME")}}
	if port := c.Int("healthz-port"); port != 0 {
		cfg.HealthzAddress = net.JoinHostPort(c.String("healthz-ip"), strconv.Itoa(port))
	}
	if cfg.REST, err = client.Find(c.String("kubeconfig-file"), c.String("kube-api-url")); err != nil {
		return Config{}, fmt.Errorf("%w (--kubeconfig-file, --kube-api-url)", err)
	}
	return cfg, nil
}

// towards is the interface by which an address is reached.
func towards(address string) (string, error) {
	ip := net.ParseIP(address)
	if ip == nil {
		return "", fmt.Errorf("%q is not an IP address", address)
	}
	routes, err := netlink.RouteGet(ip)
	if err != nil {
		return "", fmt.Errorf("the route to %s: %w", address, err)
	}
	for _, r := range routes {
		if link, err := netlink.LinkByIndex(r.LinkIndex); err == nil {
			return link.Attrs().Name, nil
		}
	}
	return "", fmt.Errorf("there is no route to %s", address)
}

func cleanup(c *cli.Context) error {
	conf, err := overlay.LoadNetConf(c.String("net-config-path"))
	if err != nil {
		return err
	}
	return overlay.Cleanup(c.Context, overlay.Config{NetConf: conf, SubnetFile: c.String("subnet-file")})
}
