// Package cni gives pods their network as a role of its own, for nodes whose kubelet and container runtime are other programs. It
// takes the node's subnet from the file that a flannel daemon writes.
package cni

import (
	"context"

	"github.com/urfave/cli/v2"

	"hyperkube/internal/command"
	"hyperkube/internal/logging"
	"hyperkube/internal/network/cni"
	"hyperkube/internal/runtime"
)

// Config of the role.
type Config struct{ CNI cni.Config }

// Role is a CNI server that runs by itself.
type Role struct{ s *cni.Server }

// New makes the role. It changes nothing in the kernel.
func New(cfg Config) (*Role, error) {
	s, err := cni.New(cfg.CNI)
	return &Role{s}, err
}

// Run serves until ctx ends.
func (r *Role) Run(ctx context.Context) error { return r.s.Run(ctx) }

// Command is the role's entry on the command line.
func Command() *cli.Command {
	str := func(name, value, usage string) cli.Flag {
		return &cli.StringFlag{Name: name, Value: value, Usage: usage}
	}
	flags := []cli.Flag{
		str("socket", "/run/hyperkube/cni.sock", "`FILE` of the socket that the plugin connects to"),
		str("state-dir", "/var/lib/hyperkube/cni", "`DIRECTORY` of the attachments"),
		str("conf-dir", "/etc/cni/net.d", "`DIRECTORY` in which the runtime looks for configurations"),
		str("conf-file", "10-hyperkube.conflist", "`NAME` of the configuration there"),
		str("bin-dir", "", "`DIRECTORY` of the runtime's CNI plugins to put the plugin into; the containerd role has it already"),
		str("plugin-name", "hyperkube-cni", "`NAME` of the plugin among the runtime's executables"),
		str("network-name", "hyperkube", "`NAME` of the network"),
		str("bridge", "cni0", "`INTERFACE` that pods are connected to"),
		str("subnet-file", "/run/flannel/subnet.env", "`FILE` in which a flannel daemon says what the node's subnet is"),
		&cli.BoolFlag{Name: "hairpin-mode", Value: true, Usage: "let pods reach themselves through services"},
		&cli.BoolFlag{Name: "cleanup", Usage: "remove everything that the role made and exit"},
	}
	return &cli.Command{
		Name:     "cni",
		Category: "Node",
		Usage:    "give pods their network interfaces",
		Flags:    append(flags, logging.Flags()...),
		Action: command.Logged(func(c *cli.Context) error {
			cfg := Config{cni.Config{
				Socket: c.String("socket"), StateDir: c.String("state-dir"), ConfDir: c.String("conf-dir"), ConfFile: c.String("conf-file"),
				PluginName: c.String("plugin-name"), NetworkName: c.String("network-name"), BridgeName: c.String("bridge"),
				NoHairpin: !c.Bool("hairpin-mode"), Network: cni.FromSubnetFile(c.String("subnet-file")),
			}}
			if c.Bool("cleanup") {
				err := cni.Cleanup(c.Context, cfg.CNI)
				if c.String("bin-dir") != "" && err == nil {
					err = runtime.RemoveCNI(c.String("bin-dir"), c.String("plugin-name"))
				}
				return err
			}
			if dir := c.String("bin-dir"); dir != "" {
				if err := runtime.LayOutCNI(dir, c.String("plugin-name")); err != nil {
					return err
				}
			}
			r, err := New(cfg)
			if err != nil {
				return err
			}
			return r.Run(c.Context)
		}),
	}
}
