package scheduler

import (
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"k8s.io/client-go/rest"
	v1 "k8s.io/kube-scheduler/config/v1"

	"hyperkube/internal/client"
	"hyperkube/internal/config"
	"hyperkube/internal/logging"
)

// Command is the role's entry on the command line.
func Command() *cli.Command {
	return &cli.Command{
		Name:     "scheduler",
		Aliases:  []string{"kube-scheduler"},
		Category: "Master",
		Usage:    "give pods their nodes",
		Flags:    append(flags(), logging.Flags()...),
		Action: func(c *cli.Context) error {
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

// FromArgs reads the role's flags from a list, for whoever runs it together with others.
func FromArgs(args []string) (Config, error) {
	var cfg Config
	err := config.ParseArgs("scheduler", flags, args, func(c *cli.Context, others []string) (err error) {
		if len(others) > 0 {
			return fmt.Errorf("unexpected argument %q", others[0])
		}
		cfg, err = fromFlags(c)
		return err
	})
	return cfg, err
}

func flags() []cli.Flag {
	const api, election, serving, compat = "API server", "Leader election", "Serving", "Compatibility"
	str := func(category, name, value, usage string) cli.Flag {
		return &cli.StringFlag{Category: category, Name: name, Value: value, Usage: usage}
	}
	dur := func(name string, value time.Duration, usage string) cli.Flag {
		return &cli.DurationFlag{Category: election, Name: name, Value: value, Usage: usage}
	}
	return []cli.Flag{
		str("Scheduling", "config", "", "`FILE` with a KubeSchedulerConfiguration (kubescheduler.config.k8s.io/v1); flags go before what it says of the same"),
		str(api, "kubeconfig", "", "`FILE` that tells how to reach the API server and under which identity"),
		str(api, "master", "", "`URL` of the API server, in place of the kubeconfig's"),
		str(api, "authentication-kubeconfig", "", "accepted for compatibility; token reviews go through --kubeconfig"),
		str(api, "authorization-kubeconfig", "", "accepted for compatibility; access reviews go through --kubeconfig"),
		&cli.BoolFlag{Category: election, Name: "leader-elect", Value: true, Usage: "work only while elected among several schedulers"},
		dur("leader-elect-lease-duration", 15*time.Second, "`TIME` after which a silent leader is replaced"),
		dur("leader-elect-renew-deadline", 10*time.Second, "`TIME` in which the leader must renew"),
		dur("leader-elect-retry-period", 2*time.Second, "`TIME` between tries"),
		str(election, "leader-elect-resource-lock", "leases", "kind of the lock; only leases"),
		str(election, "leader-elect-resource-name", v1.SchedulerDefaultLockObjectName, "`NAME` of the lock"),
		str(election, "leader-elect-resource-namespace", v1.SchedulerDefaultLockObjectNamespace, "`NAMESPACE` of the lock"),
		str(serving, "bind-address", "0.0.0.0", "`ADDRESS` to serve health and metrics on"),
		&cli.IntFlag{Category: serving, Name: "secure-port", Value: 10259, Usage: "`PORT` for them; 0 serves nothing"},
		str(serving, "tls-cert-file", "", "`FILE` of the serving certificate; one is made in memory without"),
		str(serving, "tls-private-key-file", "", "`FILE` of its key"),
		str(serving, "client-ca-file", "", "`FILE` of the authorities of client certificates; taken from the cluster without"),
		&cli.StringSliceFlag{Category: serving, Name: "authorization-always-allow-paths", Value: cli.NewStringSlice("/healthz", "/readyz", "/livez"), Usage: "paths that need no right"},
		&cli.BoolFlag{Category: serving, Name: "profiling", Value: true, Usage: "serve /debug/pprof"},
		&cli.Float64Flag{Category: compat, Name: "kube-api-qps", Value: 50, Usage: "accepted for compatibility; the server shares out its own time"},
		&cli.IntFlag{Category: compat, Name: "kube-api-burst", Value: 100, Usage: "accepted for compatibility"},
		str(compat, "kube-api-content-type", "application/vnd.kubernetes.protobuf", "accepted for compatibility"),
		str(compat, "feature-gates", "", "accepted for compatibility"),
		str(compat, "requestheader-client-ca-file", "", "accepted for compatibility"),
		&cli.BoolFlag{Category: compat, Name: "authentication-tolerate-lookup-failure", Value: true, Usage: "accepted for compatibility"},
	}
}

func fromFlags(c *cli.Context) (Config, error) {
	cfg := Config{Serving: Serving{
		BindAddress: c.String("bind-address"), Port: c.Int("secure-port"),
		CertFile: c.String("tls-cert-file"), KeyFile: c.String("tls-private-key-file"), ClientCAFile: c.String("client-ca-file"),
		Profiling: c.Bool("profiling"),
	}}
	for _, s := range c.StringSlice("authorization-always-allow-paths") {
		cfg.Serving.AlwaysAllowPaths = append(cfg.Serving.AlwaysAllowPaths, strings.Split(s, ",")...)
	}
	if cfg.Serving.Port == 0 {
		cfg.Serving.Port = -1
	}
	if path := c.String("config"); path != "" {
		if err := config.LoadKind(path, v1.SchemeGroupVersion.WithKind("KubeSchedulerConfiguration"), &cfg.Scheduler); err != nil {
			return cfg, err
		}
	}
	if p := cfg.Scheduler.EnableProfiling; p != nil && !c.IsSet("profiling") {
		cfg.Serving.Profiling = *p
	}
	if err := cfg.election(c); err != nil {
		return cfg, err
	}
	return cfg, cfg.server(c)
}

// election takes each setting from its flag, if that is given, else from the file, else from the flag's default.
func (cfg *Config) election(c *cli.Context) error {
	file := &cfg.Scheduler.LeaderElection
	duration := func(flag string, inFile time.Duration) time.Duration {
		if inFile != 0 && !c.IsSet(flag) {
			return inFile
		}
		return c.Duration(flag)
	}
	text := func(flag, inFile string) string {
		if inFile != "" && !c.IsSet(flag) {
			return inFile
		}
		return c.String(flag)
	}
	cfg.LeaderElection = LeaderElection{
		Enabled:       c.Bool("leader-elect"),
		Namespace:     text("leader-elect-resource-namespace", file.ResourceNamespace),
		Name:          text("leader-elect-resource-name", file.ResourceName),
		LeaseDuration: duration("leader-elect-lease-duration", file.LeaseDuration.Duration),
		RenewDeadline: duration("leader-elect-renew-deadline", file.RenewDeadline.Duration),
		RetryPeriod:   duration("leader-elect-retry-period", file.RetryPeriod.Duration),
	}
	if file.LeaderElect != nil && !c.IsSet("leader-elect") {
		cfg.LeaderElection.Enabled = *file.LeaderElect
	}
	if lock := text("leader-elect-resource-lock", file.ResourceLock); lock != "leases" {
		return fmt.Errorf("--leader-elect-resource-lock: %q is not known; only leases", lock)
	}
	return nil
}

// server finds the API server.
func (cfg *Config) server(c *cli.Context) error {
	path := c.String("kubeconfig")
	if path == "" {
		path = cfg.Scheduler.ClientConnection.Kubeconfig
	}
	switch master := c.String("master"); {
	case path != "":
		r, err := client.FromKubeconfig(path)
		if err != nil {
			return err
		}
		if master != "" {
			r.Host = master
		}
		cfg.REST = r
	case master != "":
		cfg.REST = &rest.Config{Host: master}
	}
	return nil
}
