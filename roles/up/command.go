package up

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"hyperkube/internal/cluster"
	"hyperkube/internal/config"
	"hyperkube/internal/logging"
)

// Command is `up`.
func Command() *cli.Command {
	return &cli.Command{
		Name: "up", Category: "Everyday",
		Usage:  "run a whole cluster on this machine, or start its node again",
		Flags:  upFlags(),
		Action: func(c *cli.Context) error { return told("up", action(c)) },
	}
}

// JoinCommand is `join`.
func JoinCommand() *cli.Command {
	return &cli.Command{
		Name: "join", Category: "Everyday",
		Usage:     "make this machine a node of a cluster that runs elsewhere, or start the node again",
		ArgsUsage: "[URL]",
		Description: "`hyperkube token create` on the master prints the whole command. The token is needed once: the node gets a certificate of\n" +
			"its own, and later starts, by join or by up, need neither URL nor token. What the nodes of a cluster have in common (networks,\n" +
			"domain, DNS, settings of kubelets and overlay) is learnt from the cluster.",
		Flags: joinFlags(),
		// The URL may come before the flags, where the library would stop parsing.
		SkipFlagParsing: true,
		Action: func(c *cli.Context) error {
			args := c.Args().Slice()
			for _, a := range args {
				if a == "--help" || a == "-help" || a == "-h" {
					return cli.ShowSubcommandHelp(c)
				}
			}
			writer, errors := c.App.Writer, c.App.ErrWriter
			err := config.ParseArgs("join", joinFlags, args, func(p *cli.Context, others []string) error {
				p.App.Writer, p.App.ErrWriter, p.Context = writer, errors, c.Context
				return joinAction(p, others)
			})
			return told("join", err)
		},
	}
}

// nodeFlags are those of every node.
func nodeFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "detach", Aliases: []string{"d"}, Usage: "return when the node is Ready and let it run in the background"},
		&cli.StringFlag{Name: "data-dir", Value: cluster.DefaultDataDir, Usage: "`DIR` for everything that lasts"},
		&cli.StringFlag{Name: "run-dir", Usage: "`DIR` for sockets and the like; below /run by default"},
		&cli.StringFlag{Name: "container-runtime-endpoint", Category: "Node", Usage: "`SOCKET` of a CRI runtime to use in place of the embedded containerd"},
		&cli.StringFlag{Name: "cni-conf-dir", Category: "Node", Value: "/etc/cni/net.d", Usage: "`DIR` in which that runtime looks for the configuration of pods' networks"},
		&cli.StringFlag{Name: "cni-bin-dir", Category: "Node", Value: "/opt/cni/bin", Usage: "`DIR` in which it looks for CNI plugins"},
		&cli.StringFlag{Name: "registry-dir", Category: "Node", Value: "/etc/containerd/certs.d", Usage: "`DIR` with a directory for each image registry and its hosts.toml (mirrors, authorities) in it"},
		&cli.StringFlag{Name: "node-name", Category: "Node", Usage: "`NAME` of the node; the machine's by default"},
		&cli.StringFlag{Name: "node-ip", Category: "Node", Usage: "`IP` of the node; that of the default route by default"},
		&cli.StringFlag{Name: "node-labels", Category: "Node", Usage: "`LABELS` of the node when it registers, key=value,…"},
		&cli.StringFlag{Name: "register-with-taints", Category: "Node", Usage: "`TAINTS` of the node when it registers, key=value:effect,…"},
		&cli.StringFlag{Name: "bridge", Category: "Network", Value: "cni0", Usage: "`NAME` of the pods' bridge"},
	}
}

func upFlags() []cli.Flag {
	flags := append(nodeFlags(),
		&cli.StringFlag{Name: "kubeconfig", Usage: "`FILE` to write the administrator's kubeconfig to, besides the data directory"},
		&cli.StringFlag{Name: "overlay-backend", Category: "Network", Value: "vxlan", Usage: "how pods reach other nodes: vxlan or host-gw"},
		&cli.StringFlag{Name: "cluster-cidr", Category: "Network", Value: "10.244.0.0/16", Usage: "`CIDR` of pods"},
		&cli.StringFlag{Name: "service-cluster-ip-range", Category: "Network", Value: "10.96.0.0/12", Usage: "`CIDR` of services"},
		&cli.StringFlag{Name: "service-node-port-range", Category: "Network", Value: "30000-32767", Usage: "`RANGE` of node ports"},
		&cli.StringFlag{Name: "cluster-domain", Category: "Network", Value: "cluster.local", Usage: "DNS `DOMAIN` of the cluster"},
		&cli.IntFlag{Name: "secure-port", Category: "API server", Value: 6443, Usage: "`PORT` of the API server"},
		&cli.StringSliceFlag{Name: "tls-san", Category: "API server", Usage: "further `NAMES` and addresses of the API server"},
		disableFlag(roleNames),
	)
	return append(append(flags, argFlags(true)...), logging.Flags()...)
}

func joinFlags() []cli.Flag {
	flags := append(nodeFlags(),
		&cli.StringFlag{Name: "token", Category: "Joining", EnvVars: []string{"HYPERKUBE_TOKEN"}, Usage: "bootstrap `TOKEN`; everybody on the machine sees the command line, so better from the environment or a file"},
		&cli.StringFlag{Name: "token-file", Category: "Joining", Usage: "`FILE` with the token"},
		&cli.StringSliceFlag{Name: "ca-cert-hash", Category: "Joining", Usage: "`HASH` of the cluster's CA, sha256:…; without, whoever holds the token could pose as the cluster"},
		disableFlag(nodeRoles),
	)
	return append(append(flags, argFlags(false)...), logging.Flags()...)
}

func disableFlag(roles []string) cli.Flag {
	return &cli.StringSliceFlag{Name: "disable", Usage: "`ROLES` not to run: " + strings.Join(roles, ", ")}
}

// told passes an error on, to whoever waits for this process in the foreground too.
func told(command string, err error) error {
	if err == nil {
		return nil
	}
	cluster.Report("", err)
	return fmt.Errorf("%s: %w", command, err)
}

func action(c *cli.Context) error {
	if c.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", c.Args().First())
	}
	cfg, err := fromFlags(c)
	if err != nil {
		return err
	}
	return run(c, cfg, os.Args[1:])
}

func joinAction(c *cli.Context, others []string) error {
	cfg, err := joinFromFlags(c, others)
	if err != nil {
		return err
	}
	logging.Setup(c.App.ErrWriter, cfg.Verbose)
	if !c.Bool("detach") || cluster.Detached() {
		return run(c, cfg, nil)
	}
	// The token is used up here, so that it does not stay on the command line of the process that goes on.
	if err := enter(c.Context, cfg); err != nil {
		return err
	}
	return run(c, cfg, withoutSecrets(os.Args[1:]))
}

// enter admits this machine to the cluster and returns.
func enter(ctx context.Context, cfg Config) error {
	return cfg.holding(func() error {
		_, err := cfg.admit(ctx)
		if err == nil {
			err = cfg.save()
		}
		return err
	})
}

// withoutSecrets is a command line without its token.
func withoutSecrets(args []string) []string {
	var out []string
	for i := 0; i < len(args); i++ {
		name, _, joined := strings.Cut(strings.TrimLeft(args[i], "-"), "=")
		if !strings.HasPrefix(args[i], "-") || name != "token" && name != "token-file" {
			out = append(out, args[i])
		} else if !joined {
			i++
		}
	}
	return out
}

// run runs the node here, or, with --detach, in another process with the arguments given.
func run(c *cli.Context, cfg Config, args []string) error {
	if os.Geteuid() != 0 {
		return errors.New("a node needs root: it makes containers, network interfaces and mounts")
	}
	if err := cfg.complete(); err != nil {
		return err
	}
	if c.Bool("detach") && !cluster.Detached() {
		text, err := cfg.Layout.Detach(c.Context, args, c.App.ErrWriter)
		if err != nil {
			return err
		}
		fmt.Fprint(c.App.Writer, text)
		return nil
	}
	logging.Setup(c.App.ErrWriter, cfg.Verbose)
	return Run(c.Context, cfg, func(text string, failure error) {
		cluster.Report(text, failure)
		if failure == nil && !cluster.Detached() {
			fmt.Fprint(c.App.Writer, text)
		}
	})
}
