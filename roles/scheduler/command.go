package scheduler

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/urfave/cli/v2"
	v1 "k8s.io/kube-scheduler/config/v1"

	"hyperkube/internal/client"
	"hyperkube/internal/command"
	"hyperkube/internal/config"
	"hyperkube/internal/flags"
	"hyperkube/internal/logging"
	"hyperkube/internal/secureport"
	"hyperkube/internal/version"
)

// Command is the role's entry on the command line.
func Command() *cli.Command {
	return flags.Version(&cli.Command{
		Name:     "scheduler",
		Aliases:  []string{"kube-scheduler"},
		Category: "Master",
		Usage:    "give pods their nodes",
		Flags:    append(ownFlags(), logging.Flags()...),
		Action:   command.Run(fromFlags, New),
	}, version.Line, version.Raw)
}

// FromArgs reads the role's flags from a list, for whoever runs it together with others.
func FromArgs(args []string) (Config, error) {
	return command.FromArgs("scheduler", ownFlags, args, fromFlags)
}

func ownFlags() []cli.Flag {
	const api, election = "API server", "Leader election"
	str := func(category, name, value, usage string) cli.Flag {
		return &cli.StringFlag{Category: category, Name: name, Value: value, Usage: usage}
	}
	dur := func(name string, value time.Duration, usage string) cli.Flag {
		return &cli.DurationFlag{Category: election, Name: name, Value: value, Usage: usage}
	}
	own := []cli.Flag{
		str("Scheduling", "config", "", "`FILE` with a KubeSchedulerConfiguration (kubescheduler.config.k8s.io/v1); flags go before what it says of the same"),
		str(api, "kubeconfig", "", "`FILE` that tells how to reach the API server and under which identity"),
		str(api, "master", "", "`URL` of the API server, in place of the kubeconfig's"),
		&cli.BoolFlag{Category: election, Name: "leader-elect", Value: true, Usage: "work only while elected among several schedulers"},
		dur("leader-elect-lease-duration", 15*time.Second, "`TIME` after which a silent leader is replaced"),
		dur("leader-elect-renew-deadline", 10*time.Second, "`TIME` in which the leader must renew"),
		dur("leader-elect-retry-period", 2*time.Second, "`TIME` between tries"),
		str(election, "leader-elect-resource-lock", "leases", "kind of the lock; only leases"),
		str(election, "leader-elect-resource-name", v1.SchedulerDefaultLockObjectName, "`NAME` of the lock"),
		str(election, "leader-elect-resource-namespace", v1.SchedulerDefaultLockObjectNamespace, "`NAMESPACE` of the lock"),
	}
	return slices.Concat(own, secureport.Flags(10259), foreign.Flags())
}

// foreign are upstream's flags that have nothing to do here.
var foreign = flags.Foreign{{
	Why: "the server shares out its own time", Numbers: []string{"kube-api-qps", "kube-api-burst"},
}, {
	Why: "objects travel as protobuf", Texts: []string{"kube-api-content-type"},
}, {
	Why:   "every stable feature is on, and none can be switched off",
	Texts: []string{"feature-gates", "emulated-version", "min-compatibility-version"},
}, {
	Why:   "all metrics are shown, with all labels",
	Texts: []string{"show-hidden-metrics-for-version", "disabled-metrics", "allow-metric-labels", "allow-metric-labels-manifest"},
}, {
	Why: "a pod that cannot be scheduled is tried when something changes for it", Spans: []string{"pod-max-in-unschedulable-pods-duration"},
}, {
	Why: "configuration is not written anew in another version", Refuse: true, Texts: []string{"write-config-to"},
}, {
	Why: "HTTP/2 is always served", Refuse: true, Bools: []string{"disable-http2-serving"},
}}

func fromFlags(c *cli.Context) (Config, error) {
	var cfg Config
	if err := foreign.Check(c); err != nil {
		return cfg, err
	}
	var err error
	if cfg.Serving, err = secureport.FromFlags(c); err != nil {
		return cfg, err
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
	r, err := client.Find(cmp.Or(c.String("kubeconfig"), cfg.Scheduler.ClientConnection.Kubeconfig), c.String("master"))
	if errors.Is(err, client.ErrNoServer) {
		return nil // the caller may know
	}
	cfg.REST = r
	return err
}
