// Package down stops a node of this machine, and undoes all that it did.
package down

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"hyperkube/internal/cluster"
	"hyperkube/internal/network/cni"
	"hyperkube/internal/network/overlay"
	"hyperkube/internal/network/proxy"
	"hyperkube/internal/runtime"
)

// grace is how long the process has to end by itself.
const grace = 30 * time.Second

func flags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "data-dir", Value: cluster.DefaultDataDir, Usage: "`DIR` of the node"},
		&cli.StringFlag{Name: "run-dir", Usage: "`DIR` of its sockets, when up was given one"},
	}
}

// Command is `down`.
func Command() *cli.Command {
	return &cli.Command{
		Name: "down", Category: "Everyday",
		Usage: "stop this machine's node; containers run on unless --pods is given",
		Flags: append(flags(), &cli.BoolFlag{Name: "pods", Usage: "end the containers too"}),
		Action: func(c *cli.Context) error {
			l, err := layout(c)
			if err != nil {
				return err
			}
			if _, err := l.LoadNode(); errors.Is(err, cluster.ErrNoNode) {
				fmt.Fprintf(c.App.Writer, "nothing to stop: %v\n", err)
				return nil
			}
			if err := stop(c.Context, l); err != nil {
				return fmt.Errorf("down: %w", err)
			}
			if !c.Bool("pods") {
				return nil
			}
			n, err := l.LoadNode()
			if err == nil {
				err = endPods(c.Context, l, n)
			}
			if err != nil {
				return fmt.Errorf("down: %w", err)
			}
			return nil
		},
	}
}

// ResetCommand is `reset`.
func ResetCommand() *cli.Command {
	return &cli.Command{
		Name: "reset", Category: "Everyday",
		Usage: "stop this machine's node and remove everything that it made, its data included",
		Flags: flags(),
		Action: func(c *cli.Context) error {
			l, err := layout(c)
			if err != nil {
				return err
			}
			err = reset(c.Context, l)
			if errors.Is(err, cluster.ErrNoNode) { // Once or twice is the same.
				fmt.Fprintf(c.App.Writer, "nothing to remove: %v\n", err)
				return nil
			}
			if err != nil {
				return fmt.Errorf("reset: %w", err)
			}
			return nil
		},
	}
}

func layout(c *cli.Context) (cluster.Layout, error) {
	if c.NArg() > 0 {
		return cluster.Layout{}, fmt.Errorf("%s: unexpected argument %q", c.Command.Name, c.Args().First())
	}
	if os.Geteuid() != 0 {
		return cluster.Layout{}, fmt.Errorf("%s: a node belongs to root", c.Command.Name)
	}
	return cluster.NewLayout(c.String("data-dir"), c.String("run-dir"))
}

func stop(ctx context.Context, l cluster.Layout) error {
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	return l.Stop(ctx)
}

// endPods ends the node's pods, in whatever runtime they are.
func endPods(ctx context.Context, l cluster.Layout, n cluster.Node) error {
	if n.RuntimeEndpoint != "" {
		return foreignPods(ctx, l, n)
	}
	return runtime.Cleanup(ctx, containers(l))
}

func containers(l cluster.Layout) runtime.CleanupConfig {
	return runtime.CleanupConfig{Root: l.Containerd(), State: l.ContainerdState(), CgroupParent: l.CgroupParent()}
}

// reset removes what is there of the node, whatever state it is in: one that was killed, whose files are damaged, or that was reset
// half-way before. It goes on after an error, so that one thing that cannot be removed does not keep the others, but leaves the
// directories while anything below them may still be mounted or in use.
func reset(ctx context.Context, l cluster.Layout) error {
	if err := l.Recognise(); err != nil {
		return err
	}
	n, err := l.LoadNode()
	if err != nil && !errors.Is(err, cluster.ErrNoNode) && !errors.Is(err, cluster.ErrDamaged) {
		return err
	}
	if err := stop(ctx, l); err != nil {
		return err
	}
	var errs []error
	errs = append(errs, endPods(ctx, l, n))
	errs = append(errs, network(ctx, l, n), n.Kernel.Restore())
	errs = append(errs, unmountBelow(l.Data), unmountBelow(l.Run))
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return l.Remove()
}

func network(ctx context.Context, l cluster.Layout, n cluster.Node) error {
	errs := []error{
		cni.Cleanup(ctx, pods(l, n)),
		plugin(n),
		proxy.Cleanup(ctx),
	}
	conf, err := overlay.LoadNetConf(l.NetConf())
	if err != nil { // a master has no such file; what is unknown is as `up` would have it
		cidr, _ := netip.ParsePrefix(n.PodCIDR)
		conf = overlay.DefaultNetConf(cidr)
		if n.Overlay != "" {
			conf.Backend.Type = n.Overlay
		}
	}
	errs = append(errs, overlay.Cleanup(ctx, overlay.Config{NodeName: n.Name, NetConf: conf}))
	return errors.Join(errs...)
}
