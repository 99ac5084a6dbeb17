// Package dns is the cluster's name server as a role of its own.
package dns

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/urfave/cli/v2"
	"k8s.io/client-go/rest"

	"hyperkube/internal/client"
	"hyperkube/internal/command"
	"hyperkube/internal/health"
	"hyperkube/internal/logging"
	"hyperkube/internal/network/dns"
)

// Config of the role.
type Config struct {
	// REST reaches the API server.
	REST *rest.Config
	// DNS is the work.
	DNS dns.Config
	// HealthzAddress is where /healthz is served; empty serves nothing.
	HealthzAddress string
}

// Role is a name server that runs by itself.
type Role struct {
	cfg Config
	s   *dns.Server
}

// New makes the role.
func New(cfg Config) (*Role, error) {
	if cfg.REST == nil {
		return nil, errors.New("no API server: give --kubeconfig or --master")
	}
	c, err := client.NewREST(cfg.REST)
	if err != nil {
		return nil, err
	}
	s, err := dns.New(c, cfg.DNS)
	return &Role{cfg, s}, err
}

// Run answers until ctx ends.
func (r *Role) Run(ctx context.Context) error {
	if r.cfg.HealthzAddress != "" {
		stop, err := health.Listen(r.cfg.HealthzAddress, health.Check{Name: "dns", Func: r.check})
		if err != nil {
			return err
		}
		defer stop()
	}
	return r.s.Run(ctx)
}

func (r *Role) check(context.Context) error {
	select {
	case <-r.s.Ready():
		return nil
	default:
		return errors.New("the objects of the cluster are not known yet")
	}
}

// Command is the role's entry on the command line.
func Command() *cli.Command {
	return &cli.Command{
		Name:     "dns",
		Category: "Node",
		Usage:    "answer for the names of Services and pods",
		Flags:    append(flags(), logging.Flags()...),
		Action:   command.Run(fromFlags, New),
	}
}

func flags() []cli.Flag {
	const api, names, serving = "API server", "Names", "Serving"
	str := func(category, name, value, usage string) cli.Flag {
		return &cli.StringFlag{Category: category, Name: name, Value: value, Usage: usage}
	}
	return []cli.Flag{
		str(api, "kubeconfig", "", "`FILE` that tells how to reach the API server and under which identity"),
		str(api, "master", "", "`URL` of the API server, in place of the kubeconfig's"),
		&cli.StringSliceFlag{Category: serving, Name: "bind-address", Required: true, Usage: "`ADDRESS` to answer at, UDP and TCP: the pod bridge's"},
		&cli.IntFlag{Category: serving, Name: "port", Value: 53, Usage: "`PORT` to answer at"},
		str(serving, "healthz-bind-address", "", "`ADDRESS` and port of the health check; empty serves none"),
		str(names, "cluster-domain", "cluster.local", "`DOMAIN` of the cluster"),
		str(names, "cluster-dns", "", "`ADDRESS` of the Service kube-system/kube-dns, behind which this server announces itself on its Node; empty announces nothing"),
		str(names, "hostname-override", "", "`NAME` of the node; the machine's host name without"),
		str(names, "resolv-conf", "/etc/resolv.conf", "`FILE` that names the resolvers of other names"),
		&cli.StringSliceFlag{Category: names, Name: "upstream", Usage: "resolver `ADDRESS` in place of those of --resolv-conf"},
	}
}

func fromFlags(c *cli.Context) (Config, error) {
	port := c.Int("port")
	if port < 1 || port > 65535 {
		return Config{}, fmt.Errorf("--port: %d is not a port", port)
	}
	d := dns.Config{
		Port: uint16(port), Domain: c.String("cluster-domain"), ResolvConf: c.String("resolv-conf"), Upstreams: c.StringSlice("upstream"),
	}
	for _, a := range c.StringSlice("bind-address") {
		ip, err := netip.ParseAddr(a)
		if err != nil {
			return Config{}, fmt.Errorf("--bind-address: %w", err)
		}
		d.BindAddresses = append(d.BindAddresses, ip)
	}
	if a := c.String("cluster-dns"); a != "" {
		ip, err := netip.ParseAddr(a)
		if err != nil {
			return Config{}, fmt.Errorf("--cluster-dns: %w", err)
		}
		d.ClusterIP, d.NodeName = ip, c.String("hostname-override")
		if d.NodeName == "" {
			if d.NodeName, err = os.Hostname(); err != nil {
				return Config{}, fmt.Errorf("the machine's host name: %w", err)
			}
		}
		d.NodeName = strings.ToLower(d.NodeName)
	}
	r, err := client.Find(c.String("kubeconfig"), c.String("master"))
	if err != nil {
		return Config{}, fmt.Errorf("%w (--kubeconfig, --master)", err)
	}
	return Config{REST: r, DNS: d, HealthzAddress: c.String("healthz-bind-address")}, nil
}
