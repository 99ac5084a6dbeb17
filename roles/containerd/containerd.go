// Package containerd is the container runtime as a role of its own: containerd with the CRI and the embedded helpers, under
// containerd's own flags, for ctr, crictl and kubelets of any make. A node embeds the same runtime by default and needs
// this role only where the runtime must outlive it. Stopping it leaves containers running.
package containerd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v2"

	"hyperkube/internal/command"
	"hyperkube/internal/logging"
	"hyperkube/internal/runtime"
)

// Config of the role is the runtime's.
type Config = runtime.Config

// Role is a runtime that runs by itself.
type Role struct{ cfg Config }

// New makes the role.
func New(c Config) (*Role, error) { return &Role{c}, nil }

// startTimeout bounds the start. Recovering a full node's containers takes seconds.
const startTimeout = 5 * time.Minute

// Run serves until ctx ends, or until a part of containerd fails for good.
func (r *Role) Run(ctx context.Context) error {
	start, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	rt, err := runtime.Start(start, r.cfg)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	defer rt.Stop()
	slog.Default().Info("container runtime ready", "component", "containerd", "endpoint", rt.Endpoint())
	select {
	case <-ctx.Done():
		return nil
	case <-rt.Failed():
		return errors.New("containerd failed; its reason is in the log")
	}
}

// Command is the role's entry on the command line.
func Command() *cli.Command {
	const node = "Node"
	return &cli.Command{
		Name:     "containerd",
		Category: node,
		Usage:    "run containers",
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "root", Category: node, Value: "/var/lib/hyperkube/containerd", Usage: "`DIR` for images and snapshots"},
			&cli.StringFlag{Name: "state", Category: node, Value: "/run/hyperkube/containerd", Usage: "`DIR` for what lives until a reboot"},
			&cli.StringFlag{Name: "address", Aliases: []string{"a"}, Category: node, Usage: "`SOCKET` to serve on (default: containerd.sock in the state directory)"},
			&cli.StringFlag{Name: "config", Aliases: []string{"c"}, Category: node, Usage: "`FILE` of containerd configuration (TOML) laid over the built-in one"},
			&cli.StringFlag{Name: "cgroup-parent", Category: node, Usage: "`CGROUP` below which the kubelet has its pods, for --cleanup"},
			&cli.BoolFlag{Name: "cleanup", Category: node, Usage: "end all containers, undo their mounts and exit; no containerd may run on the same directories"},
			&cli.StringFlag{Name: "log-level", Aliases: []string{"l"}, Category: "Logging", Usage: "`LEVEL`: debug, info, warn or error"},
		}, logging.Flags()...),
		Action: command.Unless("cleanup", command.Logged(cleanup), command.Run(fromFlags, New)),
	}
}

func cleanup(c *cli.Context) error {
	cfg, err := fromFlags(c)
	if err != nil {
		return err
	}
	return runtime.Cleanup(c.Context, runtime.CleanupConfig{Root: cfg.Root, State: cfg.State, CgroupParent: c.String("cgroup-parent")})
}

func fromFlags(c *cli.Context) (Config, error) {
	cfg := Config{Root: c.String("root"), State: c.String("state"), Socket: c.String("address"), ConfigFile: c.String("config")}
	if cfg.Socket == "" {
		cfg.Socket = filepath.Join(cfg.State, "containerd.sock")
	}
	if name := c.String("log-level"); name != "" {
		if name == "trace" {
			name = "debug"
		}
		var level slog.Level
		if err := level.UnmarshalText([]byte(name)); err != nil {
			return cfg, fmt.Errorf("--log-level: %w", err)
		}
		cfg.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	}
	return cfg, nil
}
