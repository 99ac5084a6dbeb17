// Package scheduler is the role that gives pods their nodes.
//
// It turns flags and a KubeSchedulerConfiguration file into a [Config]; [New] checks it; [Role.Run] fills the caches,
// waits to be elected where that is asked for, and schedules (internal/scheduler). Health and metrics are served on port
// 10259.
package scheduler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"
	v1 "k8s.io/kube-scheduler/config/v1"

	"hyperkube/internal/client"
	"hyperkube/internal/health"
	"hyperkube/internal/lifecycle"
	"hyperkube/internal/scheduler"
	"hyperkube/internal/secureport"
)

// Config says what the scheduler does. Zero values are upstream's defaults unless a field says otherwise.
type Config struct {
	// Client of an API server in this process, under the scheduler's identity. Without it, REST says how to reach one.
	Client client.Interface
	REST   *rest.Config
	// Scheduler is the configuration file's content. Its leaderElection and clientConnection are not read: the fields here say that.
	Scheduler v1.KubeSchedulerConfiguration
	// LeaderElection of one among several schedulers; off unless Enabled.
	LeaderElection LeaderElection
	Serving        Serving
}

// LeaderElection says whether and how one of several schedulers is chosen to work.
type LeaderElection struct {
	Enabled       bool
	Namespace     string        // kube-system
	Name          string        // kube-scheduler
	Identity      string        // the host's name and a random part
	LeaseDuration time.Duration // 15 s
	RenewDeadline time.Duration // 10 s
	RetryPeriod   time.Duration // 2 s
}

// Serving says where health and metrics are served: port 10259 by default, less than 0 serves nothing.
type Serving = secureport.Config

// Role is a scheduler with its port. Make it with [New], then Run it once.
type Role struct {
	cfg     Config
	c       client.Interface
	s       *scheduler.Scheduler
	metrics *prometheus.Registry
}

// New checks the configuration.
func New(cfg Config) (*Role, error) {
	r := &Role{cfg: cfg, c: cfg.Client, metrics: prometheus.NewRegistry()}
	if r.c == nil {
		if cfg.REST == nil {
			return nil, errors.New("no API server is named: --kubeconfig is missing")
		}
		named, requests := client.Named(cfg.REST, "kube-scheduler"), &client.RequestStats{}
		requests.Count(named)
		r.metrics.MustRegister(requests)
		c, err := client.NewREST(named)
		if err != nil {
			return nil, fmt.Errorf("client of the API server: %w", err)
		}
		r.c = c
	}
	if r.cfg.Serving.Port == 0 {
		r.cfg.Serving.Port = 10259
	}
	leading, err := cfg.LeaderElection.leading()
	if err != nil {
		return nil, err
	}
	r.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	r.s, err = scheduler.New(r.c, scheduler.Config{KubeSchedulerConfiguration: cfg.Scheduler, Leading: leading, Metrics: r.metrics})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Ready is closed when the caches are filled.
func (r *Role) Ready() <-chan struct{} { return r.s.Ready() }

// Run schedules and serves health and metrics until ctx ends. Losing the lead is an error: the process that starts the role
// again begins from clean caches.
func (r *Role) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	if s := r.cfg.Serving; s.Port > 0 {
		g.Go(func() error {
			s.Component, s.Configz = "kube-scheduler", r.cfg.configz()
			return secureport.Serve(ctx, s, r.c, r.metrics, health.Check{Name: "informer-sync", Func: r.synced}, health.Check{Name: "scheduling", Func: r.s.Health})
		})
	}
	g.Go(func() error {
		if err := lifecycle.Guard(func() error { return r.s.Run(ctx) }); err != nil || ctx.Err() == nil {
			return errors.Join(err, errEnded)
		}
		return nil
	})
	return g.Wait()
}

var errEnded = errors.New("the scheduler ended")

func (r *Role) synced(context.Context) error {
	select {
	case <-r.s.Ready():
		return nil
	default:
		return errors.New("caches are not filled yet")
	}
}

func (e LeaderElection) leading() (*client.Leading, error) {
	if !e.Enabled {
		return nil, nil
	}
	l := &client.Leading{
		Namespace: e.Namespace, Name: e.Name, Identity: e.Identity,
		LeaseDuration: e.LeaseDuration, RenewDeadline: e.RenewDeadline, RetryPeriod: e.RetryPeriod,
	}
	if l.Namespace == "" {
		l.Namespace = v1.SchedulerDefaultLockObjectNamespace
	}
	if l.Name == "" {
		l.Name = v1.SchedulerDefaultLockObjectName
	}
	if l.Identity == "" {
		host, err := os.Hostname()
		if err != nil {
			return nil, fmt.Errorf("name of this host: %w", err)
		}
		l.Identity = host + "_" + uuid.NewString()
	}
	slog.Default().Debug("leader election is on", "component", "scheduler", "identity", l.Identity)
	return l, nil
}
