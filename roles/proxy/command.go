// Package proxy is the service proxy as a role of its own, under kube-proxy's flags and configuration file
// (KubeProxyConfiguration, kubeproxy.config.k8s.io/v1alpha1). A flag that is given goes before what the file says of the same.
package proxy

import (
	"context"
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/urfave/cli/v2"
	"k8s.io/client-go/rest"

	"hyperkube/internal/client"
	"hyperkube/internal/command"
	"hyperkube/internal/flags"
	"hyperkube/internal/logging"
	"hyperkube/internal/network/proxy"
	"hyperkube/internal/version"
)

// Config of the role.
type Config struct {
	// REST reaches the API server.
	REST *rest.Config
	// Proxy is the work.
	Proxy proxy.Config
}

// Role is a proxy that runs by itself.
type Role struct{ p *proxy.Proxy }

// New makes the role. It changes nothing in the kernel.
func New(cfg Config) (*Role, error) {
	if cfg.REST == nil {
		return nil, errors.New("no API server: give --kubeconfig or --master")
	}
	named, requests := client.Named(cfg.REST, "kube-proxy"), &client.RequestStats{}
	requests.Count(named)
	c, err := client.NewREST(named)
	if err != nil {
		return nil, err
	}
	if cfg.Proxy.Metrics == nil {
		cfg.Proxy.Metrics = prometheus.NewRegistry()
	}
	cfg.Proxy.Metrics.MustRegister(requests)
	p, err := proxy.New(c, cfg.Proxy)
	return &Role{p}, err
}

// Run serves until ctx ends.
func (r *Role) Run(ctx context.Context) error { return r.p.Run(ctx) }

// Command is the role's entry on the command line.
func Command() *cli.Command {
	return flags.Version(&cli.Command{
		Name:     "proxy",
		Aliases:  []string{"kube-proxy"},
		Category: "Node",
		Usage:    "make Services work on this node",
		Flags:    append(ownFlags(), logging.Flags()...),
		Action:   command.Unless("cleanup", command.Logged(cleanup), command.NoArguments(run)),
	}, version.Line, version.Raw)
}

// run sets up the log as flags and file say, together with all else that they say.
func run(c *cli.Context) error {
	cfg, err := fromFlags(c)
	if err != nil {
		return err
	}
	r, err := New(cfg)
	if err != nil {
		return err
	}
	return r.Run(c.Context)
}

func cleanup(c *cli.Context) error {
	if err := proxy.Cleanup(c.Context); err != nil {
		return fmt.Errorf("cleanup: %w", err)
	}
	return nil
}
