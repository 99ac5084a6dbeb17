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
	"hyperkube/internal/logging"
)

// Command is `up`.
func Command() *cli.Command {
	return &cli.Command{
		Name: "up", Category: "Everyday",
		Usage: "run a whole cluster on this machine, or start it again",
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "detach", Aliases: []string{"d"}, Usage: "return when the node is Ready and let it run in the background"},
			&cli.StringFlag{Name: "data-dir", Value: cluster.DefaultDataDir, Usage: "`DIR` for everything that lasts"},
			&cli.StringFlag{Name: "run-dir", Usage: "`DIR` for sockets and the like; below /run by default"},
			&cli.StringFlag{Name: "kubeconfig", Usage: "`FILE` to write the administrator's kubeconfig to, besides the data directory"},
			&cli.StringFlag{Name: "container-runtime-endpoint", Category: "Node", Usage: "`SOCKET` of a CRI runtime to use in place of the embedded containerd"},
			&cli.StringFlag{Name: "node-name", Category: "Node", Usage: "`NAME` of the node; the machine's by default"},
			&cli.StringFlag{Name: "node-ip", Category: "Node", Usage: "`IP` of the node; that of the default route by default"},
			&cli.StringFlag{Name: "bridge", Category: "Network", Value: "cni0", Usage: "`NAME` of the pods' bridge"},
			&cli.StringFlag{Name: "overlay-backend", Category: "Network", Value: "vxlan", Usage: "how pods reach other nodes: vxlan or host-gw"},
			&cli.StringFlag{Name: "cluster-cidr", Category: "Network", Value: "10.244.0.0/16", Usage: "`CIDR` of pods"},
			&cli.StringFlag{Name: "service-cluster-ip-range", Category: "Network", Value: "10.96.0.0/12", Usage: "`CIDR` of services"},
			&cli.StringFlag{Name: "service-node-port-range", Category: "Network", Value: "30000-32767", Usage: "`RANGE` of node ports"},
			&cli.StringFlag{Name: "cluster-domain", Category: "Network", Value: "cluster.local", Usage: "DNS `DOMAIN` of the cluster"},
			&cli.IntFlag{Name: "secure-port", Category: "API server", Value: 6443, Usage: "`PORT` of the API server"},
			&cli.StringSliceFlag{Name: "tls-san", Category: "API server", Usage: "further `NAMES` and addresses of the API server"},
			&cli.StringSliceFlag{Name: "disable", Usage: "`ROLES` not to run: " + strings.Join(roleNames, ", ")},
		}, logging.Flags()...),
		Action: action,
	}
}

func action(c *cli.Context) error {
	cfg, err := fromFlags(c)
	if err != nil {
		return fmt.Errorf("up: %w", err)
	}
	if os.Geteuid() != 0 {
		return errors.New("up: a node needs root: it makes containers, network interfaces and mounts")
	}
	if c.Bool("detach") && !cluster.Detached() {
		if err := cfg.complete(); err != nil {
			return fmt.Errorf("up: %w", err)
		}
		text, err := cfg.Layout.Detach(os.Args[1:])
		if err != nil {
			return fmt.Errorf("up: %w", err)
		}
		fmt.Fprint(c.App.Writer, text)
		return nil
	}
	logging.Setup(c.App.ErrWriter, cfg.Verbose)
	return Run(c.Context, cfg, func(failure error) {
		cluster.Report(summary(cfg), failure)
		if failure == nil && !cluster.Detached() {
			fmt.Fprint(c.App.Writer, summary(cfg))
		}
	})
}

func fromFlags(c *cli.Context) (Config, error) {
	cfg := Config{
		NodeName: c.String("node-name"), Bridge: c.String("bridge"), OverlayBackend: c.String("overlay-backend"),
		ClusterDomain: c.String("cluster-domain"), APIPort: c.Int("secure-port"), APINames: c.StringSlice("tls-san"),
		Kubeconfig: c.String("kubeconfig"), RuntimeEndpoint: c.String("container-runtime-endpoint"),
		Disabled: map[string]bool{}, Verbose: c.Int("v"),
	}
	if c.NArg() > 0 {
		return cfg, fmt.Errorf("unexpected argument %q", c.Args().First())
	}
	for _, r := range c.StringSlice("disable") {
		cfg.Disabled[r] = true
	}
	var err error
	if cfg.Layout, err = cluster.NewLayout(c.String("data-dir"), c.String("run-dir")); err != nil {
		return cfg, err
	}
	if ip := c.String("node-ip"); ip != "" {
		if cfg.NodeIP = net.ParseIP(ip); cfg.NodeIP == nil {
			return cfg, fmt.Errorf("--node-ip: %q is not an IP address", ip)
		}
	}
	if cfg.PodCIDR, err = netip.ParsePrefix(c.String("cluster-cidr")); err != nil {
		return cfg, fmt.Errorf("--cluster-cidr: %w", err)
	}
	if _, cfg.ServiceCIDR, err = net.ParseCIDR(c.String("service-cluster-ip-range")); err != nil {
		return cfg, fmt.Errorf("--service-cluster-ip-range: %w", err)
	}
	r, err := utilnet.ParsePortRange(c.String("service-node-port-range"))
	if err != nil {
		return cfg, fmt.Errorf("--service-node-port-range: %w", err)
	}
	cfg.NodePorts = *r
	if b := cfg.OverlayBackend; b != "vxlan" && b != "host-gw" {
		return cfg, fmt.Errorf("--overlay-backend: %q is neither vxlan nor host-gw", b)
	}
	return cfg, nil
}
