// Package flannel is the pod overlay as a role of its own, under flanneld's flags. It takes leases from the Kubernetes
// API (--kube-subnet-mgr), and works beside flanneld on other nodes.
package flannel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"k8s.io/client-go/rest"

	"hyperkube/internal/client"
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
}

// Role is an overlay that runs by itself.
type Role struct {
	cfg Config
	o   *overlay.Overlay
}

// New makes the role. It changes nothing in the kernel.
func New(cfg Config) (*Role, error) {
	if cfg.REST == nil {
		return nil, errors.New("flannel: no API server: give --kubeconfig-file or --kube-api-url")
	}
	c, err := client.NewREST(cfg.REST)
	if err != nil {
		return nil, err
	}
	o, err := overlay.New(c, cfg.Overlay)
	return &Role{cfg, o}, err
}

// Run takes part in the overlay until ctx ends.
func (r *Role) Run(ctx context.Context) error {
	if r.cfg.HealthzAddress != "" {
		l, err := net.Listen("tcp", r.cfg.HealthzAddress)
		if err != nil {
			return fmt.Errorf("healthz address: %w", err)
		}
		s := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: health.NewMux(nil, health.Check{Name: "overlay", Func: r.check})}
		defer s.Close()
		go func() { _ = s.Serve(l) }() // it ends with the role
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
		Flags:    append(flags(), logging.Flags()...),
		Action: func(c *cli.Context) error {
			if c.NArg() > 0 {
				return fmt.Errorf("unexpected argument %q", c.Args().First())
			}
			if err := logging.FromFlags(c); err != nil {
				return err
			}
			cfg, err := fromFlags(c)
			if err != nil {
				return err
			}
			r, err := New(cfg)
			if err != nil {
				return err
			}
			return r.Run(c.Context)
		},
	}
}

func flags() []cli.Flag {
	const api, node, rules, serving = "API server", "Node", "Rules", "Serving"
	str := func(category, name, value, usage string) cli.Flag {
		return &cli.StringFlag{Category: category, Name: name, Value: value, Usage: usage}
	}
	return []cli.Flag{
		&cli.BoolFlag{Category: api, Name: "kube-subnet-mgr", Usage: "take leases from the Kubernetes API (the only way here)"},
		str(api, "kubeconfig-file", "", "`FILE` that tells how to reach the API server and under which identity"),
		str(api, "kube-api-url", "", "`URL` of the API server, in place of the kubeconfig's"),
		str(api, "kube-annotation-prefix", overlay.DefaultPrefix, "`PREFIX` of the annotations on Nodes"),
		&cli.StringFlag{Category: node, Name: "node-name", EnvVars: []string{"NODE_NAME"}, Usage: "`NAME` of the node; the machine's host name without"},
		&cli.StringSliceFlag{Category: node, Name: "iface", Usage: "`INTERFACE` (name or address) to the other nodes; the first that exists is used"},
		&cli.StringSliceFlag{Category: node, Name: "iface-regex", Usage: "`PATTERN` of the interface's name or address, after --iface"},
		str(node, "public-ip", "", "`ADDRESS` at which other nodes reach this one"),
		str(node, "net-config-path", "/etc/kube-flannel/net-conf.json", "`FILE` with the network's configuration"),
		str(node, "subnet-file", "/run/flannel/subnet.env", "`FILE` to write for CNI plugins"),
		&cli.BoolFlag{Category: rules, Name: "ip-masq", Usage: "masquerade what pods send out of the overlay"},
		&cli.BoolFlag{Category: rules, Name: "iptables-forward-rules", Value: true, Usage: "let packets of pods be forwarded"},
		&cli.BoolFlag{Category: node, Name: "set-node-network-unavailable", Value: true, Usage: "set the node's condition NetworkUnavailable to False"},
		str(serving, "healthz-ip", "0.0.0.0", "`ADDRESS` of the health check"),
		&cli.IntFlag{Category: serving, Name: "healthz-port", Usage: "`PORT` of the health check; 0 serves none"},
	}
}

func fromFlags(c *cli.Context) (Config, error) {
	if !c.Bool("kube-subnet-mgr") {
		return Config{}, errors.New("leases from etcd are not supported: give --kube-subnet-mgr")
	}
	conf, err := overlay.LoadNetConf(c.String("net-config-path"))
	if err != nil {
		return Config{}, err
	}
	name := c.String("node-name")
	if name == "" {
		if name, err = os.Hostname(); err != nil {
			return Config{}, fmt.Errorf("the machine's host name: %w", err)
		}
	}
	o := overlay.Config{
		NodeName: strings.ToLower(name), NetConf: conf, Ifaces: c.StringSlice("iface"), IfaceRegexes: c.StringSlice("iface-regex"),
		NoMasq: !c.Bool("ip-masq"), NoForward: !c.Bool("iptables-forward-rules"), SubnetFile: c.String("subnet-file"),
		AnnotationPrefix: c.String("kube-annotation-prefix"), KeepCondition: !c.Bool("set-node-network-unavailable"),
	}
	if s := c.String("public-ip"); s != "" {
		if o.PublicIP, err = netip.ParseAddr(s); err != nil {
			return Config{}, fmt.Errorf("--public-ip: %w", err)
		}
	}
	cfg := Config{Overlay: o}
	if port := c.Int("healthz-port"); port != 0 {
		cfg.HealthzAddress = net.JoinHostPort(c.String("healthz-ip"), strconv.Itoa(port))
	}
	if cfg.REST, err = client.Find(c.String("kubeconfig-file"), c.String("kube-api-url")); err != nil {
		return Config{}, fmt.Errorf("%w (--kubeconfig-file, --kube-api-url)", err)
	}
	return cfg, nil
}
