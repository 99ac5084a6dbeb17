// Hyperkube is a whole Kubernetes in one file: `hyperkube ROLE`, or the file called by a role's name
// (kube-apiserver, kubelet, kubectl, …), runs that role.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"hyperkube/internal/cluster"
	"hyperkube/internal/flags"
	"hyperkube/internal/footprint"
	"hyperkube/internal/lifecycle"
	"hyperkube/internal/portuse"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	go footprint.Keep(ctx, func(err error) {
		slog.Default().Warn("memory could not be given back", "component", "footprint", "error", err)
	})
	err := run(ctx, os.Args)
	if errors.Is(err, lifecycle.ErrAgain) {
		err = errors.Join(err, cluster.Again())
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", filepath.Base(os.Args[0]), err)
		os.Exit(1)
	}
}

// run picks the role by the name under which the program was called, or else by its first argument.
func run(ctx context.Context, args []string) error {
	roles := commands()
	flags.Usage(roles)
	for _, r := range roles {
		if len(r.Subcommands) > 0 && r.Action == nil {
			r.Action = pick
		}
	}
	if role := find(roles, filepath.Base(args[0])); role != nil {
		args = append([]string{"hyperkube", role.Name}, args[1:]...)
	}
	app := &cli.App{
		Name:                 "hyperkube",
		Usage:                "a whole Kubernetes in one file",
		Description:          "Called by the name of a role (a link named kube-apiserver, kubelet, kubectl, …), it runs that role.",
		Commands:             roles,
		HideVersion:          true,
		EnableBashCompletion: true,
		Action: func(c *cli.Context) error {
			if name := c.Args().First(); name != "" {
				return fmt.Errorf("unknown role or command %q; known are: %s", name, strings.Join(names(roles), ", "))
			}
			return cli.ShowAppHelp(c)
		},
		// Errors are printed once, by main.
		ExitErrHandler: func(*cli.Context, error) {},
	}
	return portuse.Explain(app.RunContext(ctx, args))
}

// pick answers a command that consists of others when none of them was named.
func pick(c *cli.Context) error {
	if name := c.Args().First(); name != "" {
		return fmt.Errorf("%s: unknown command %q; known are: %s", c.Command.Name, name, strings.Join(names(c.Command.Subcommands), ", "))
	}
	return cli.ShowSubcommandHelp(c)
}

func find(roles []*cli.Command, name string) *cli.Command {
	for _, r := range roles {
		if r.HasName(name) {
			return r
		}
	}
	return nil
}

func names(roles []*cli.Command) []string {
	var all []string
	for _, r := range roles {
		if r.Name != "help" {
			all = append(all, r.Names()...)
		}
	}
	slices.Sort(all)
	return all
}
