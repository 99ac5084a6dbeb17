// Package etcd is the datastore as a role of its own: a member of an etcd cluster under etcd's own flags, environment
// variables (ETCD_…) and configuration file, serving etcd's API, /health and /metrics. The API
// server embeds its own member by default and needs this role only where the datastore runs by itself.
package etcd

import (
	"context"
	"errors"
	"log/slog"
	"strings"

	"github.com/urfave/cli/v2"

	"hyperkube/internal/command"
	"hyperkube/internal/etcd"
	"hyperkube/internal/logging"
)

// Config of the role: values of etcd's flags by name, without dashes.
type Config struct{ Values map[string]string }

// Role is a member that runs by itself.
type Role struct{ cfg Config }

// New makes the role. Values are checked by Run.
func New(c Config) (*Role, error) { return &Role{c}, nil }

// Run serves until ctx ends. It returns an error when the member cannot start, when its disk fails and when it
// is removed from its cluster; [lifecycle.ErrAgain] when its disk was full and has room again.
func (r *Role) Run(ctx context.Context) error {
	m, err := etcd.StartStandalone(ctx, r.cfg.Values, nil)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	defer m.Close()
	slog.Default().Info("the member serves", "component", "etcd")
	ended := make(chan error, 1)
	go func() { ended <- m.Ended(ctx) }()
	select {
	case err := <-ended:
		return err
	case <-m.Stopped():
		return errors.New("the etcd member was removed from its cluster")
	}
}

// Command is the role's entry on the command line.
func Command() *cli.Command {
	return &cli.Command{
		Name:     "etcd",
		Category: "Master",
		Usage:    "keep the cluster's data",
		Flags:    append(flags(), logging.Flags()...),
		Action:   command.Run(fromFlags, New),
	}
}

// flags are etcd's, with its environment variables.
func flags() []cli.Flag {
	var out []cli.Flag
	for _, o := range etcd.Options() {
		env := []string{"ETCD_" + strings.ToUpper(strings.ReplaceAll(o.Name, "-", "_"))}
		if o.Bool {
			out = append(out, &cli.BoolFlag{Name: o.Name, Usage: o.Usage, Value: o.Default == "true", EnvVars: env, Category: category(o.Name)})
			continue
		}
		// Etcd keeps the defaults: a flag that is not given must stay so.
		out = append(out, &cli.StringFlag{Name: o.Name, Usage: o.Usage, DefaultText: o.Default, EnvVars: env, Category: category(o.Name)})
	}
	return out
}

// category groups the flags as etcd's documentation does.
func category(name string) string {
	has := func(parts ...string) bool {
		for _, p := range parts {
			if strings.Contains(name, p) {
				return true
			}
		}
		return false
	}
	switch {
	case has("cert", "tls", "-ca-", "key-file", "cipher", "cors", "host-whitelist", "crl"):
		return "Security"
	case has("initial", "discovery", "advertise", "strict-reconfig", "pre-vote", "force-new"):
		return "Clustering"
	case has("log"):
		return "Logging"
	case has("auth"):
		return "Authentication"
	case has("metrics", "pprof", "tracing"):
		return "Observation"
	}
	return "Member"
}

func fromFlags(c *cli.Context) (Config, error) {
	values := map[string]string{}
	for _, o := range etcd.Options() {
		if !c.IsSet(o.Name) {
			continue
		}
		values[o.Name] = c.String(o.Name)
		if o.Bool {
			values[o.Name] = "false"
			if c.Bool(o.Name) {
				values[o.Name] = "true"
			}
		}
	}
	return Config{values}, nil
}
