package controllermanager

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/tools/record"

	"hyperkube/internal/client"
	"hyperkube/internal/controllers"
	"hyperkube/internal/lifecycle"
)

// Role is a controller manager.
type Role struct {
	cfg     Config
	chosen  []entry
	files   *material
	who     *identities
	log     *slog.Logger
	metrics *prometheus.Registry
	queues  *client.QueueStats
	leading atomic.Pointer[controllers.Manager] // nil while another leads
	ready   chan struct{}
	started atomic.Bool
}

// New checks the configuration and reads its files.
func New(c Config) (*Role, error) {
	if err := c.setDefaults(); err != nil {
		return nil, err
	}
	chosen, err := choose(entries(), c.Controllers)
	if err != nil {
		return nil, err
	}
	files, err := c.load()
	if err != nil {
		return nil, err
	}
	who, err := newIdentities(&c)
	if err != nil {
		return nil, err
	}
	return &Role{
		cfg: c, chosen: chosen, files: files, who: who, ready: make(chan struct{}), metrics: prometheus.NewRegistry(), queues: client.NewQueueStats(),
		log: slog.Default().With("component", "controller-manager"),
	}, nil
}

// Ready is closed when the controllers run here for the first time.
func (r *Role) Ready() <-chan struct{} { return r.ready }

// Run serves health and metrics and runs the controllers, while this manager leads, until ctx ends. Losing the lead stops
// them; they start anew, from empty caches, when it is won again.
func (r *Role) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(client.WithQueueStats(ctx, r.queues))
	if r.cfg.Serving.Port >= 0 {
		g.Go(func() error { return r.serve(ctx) })
	}
	g.Go(func() error { return lifecycle.Guard(func() error { return r.lead(ctx) }) })
	err := g.Wait()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func (r *Role) lead(ctx context.Context) error {
	e := r.cfg.LeaderElection
	if !e.Enabled {
		return r.work(ctx)
	}
	for {
		term, end := context.WithCancel(ctx)
		var failed error
		err := client.RunLeading(term, r.who.manager, client.Leading{
			Namespace: e.Namespace, Name: e.Name, Identity: e.Identity,
			LeaseDuration: e.LeaseDuration, RenewDeadline: e.RenewDeadline, RetryPeriod: e.RetryPeriod,
		}, func(ctx context.Context) {
			failed = r.work(ctx)
			end()
		})
		end()
		switch {
		case ctx.Err() != nil:
			return nil
		case failed != nil:
			return failed
		}
		r.log.Warn("no longer leading, standing by", "error", err)
	}
}

// work runs the chosen controllers until ctx ends.
func (r *Role) work(ctx context.Context) error {
	informers := client.NewInformers(r.who.manager)
	deps := controllers.Deps{
		Client:    r.who.client,
		Informers: informers,
		Recorder: func(component string) record.EventRecorder {
			return client.NewRecorder(ctx, r.who.manager, component, "")
		},
		Metrics: r.metrics,
	}
	var all []controllers.Controller
	for _, e := range r.chosen {
		c, err := e.make(deps, &r.cfg, r.files, r.workers(e))
		if err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
		if c == nil {
			r.log.Info("controller not configured, not started", "controller", e.name)
			continue
		}
		all = append(all, c)
	}
	m := controllers.NewManager(all...)
	r.leading.Store(m)
	defer r.leading.Store(nil)
	informers.Start(ctx)
	if err := r.sync(ctx, informers); err != nil {
		return nil // ctx has ended
	}
	if r.started.CompareAndSwap(false, true) {
		close(r.ready)
	}
	r.log.Info("controllers started", "controllers", len(all))
	return m.Run(ctx)
}

// sync waits for the caches, and says so when that takes long.
func (r *Role) sync(ctx context.Context, informers *client.Informers) error {
	slow := time.AfterFunc(30*time.Second, func() {
		r.log.Warn("caches have not synced yet; is every resource served and may it be read?")
	})
	defer slow.Stop()
	return informers.WaitForSync(ctx)
}

func (r *Role) workers(e entry) int {
	if n := r.cfg.Workers[e.name]; n > 0 {
		return n
	}
	return max(e.workers, 1)
}
