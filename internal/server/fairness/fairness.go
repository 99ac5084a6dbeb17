// Package fairness decides which request may be served now, which waits and which is refused (API priority and fairness, KEP-1040).
//
// FlowSchemas sort requests into priority levels and, within a level, into flows. Each level has a share of the seats that the server has in
// all; a request takes as many as its work is thought to be worth. A level may use seats that others do not need, as far as they lend and it
// may borrow, and gets its own back as requests end. Requests for which there is no seat wait in queues: a flow is dealt a few of a level's
// queues, so that one that floods the server fills only those, and queues are served by how much of the level's time they have had.
//
// How many seats a level may use is set anew every ten seconds by what the levels needed lately: each gets the same fraction of that, but not
// less than what it does not lend, and not more than it may borrow. That is done by whoever comes or goes then, so that an idle server does nothing.
//
// The exempt level never waits. Watches take their seats until they begin; other long requests take none. A list takes more seats the more
// objects it reads, and a write of what many watch keeps seats for a moment after it was answered, since that is when it makes work.
// Everything is decided under one lock when a request comes or goes.
package fairness

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"hyperkube/internal/client"
	"hyperkube/internal/server/request"
)

var (
	schemas = client.Resource[*flowcontrolv1.FlowSchema]{GVR: flowcontrolv1.SchemeGroupVersion.WithResource("flowschemas")}
	levels  = client.Resource[*flowcontrolv1.PriorityLevelConfiguration]{GVR: flowcontrolv1.SchemeGroupVersion.WithResource("prioritylevelconfigurations")}
)

// Config of the fairness.
type Config struct {
	// API has all rights.
	API client.Interface
	// Seats that the server has in all.
	Seats int
	// QueueWait bounds how long a request waits for its seats.
	QueueWait time.Duration
	// Objects tells how many objects of a resource there are, to judge the work of a list; nil: a list is worth one seat.
	Objects func(req *request.Request) int
	// Watchers tells how many watchers are told of a write, to judge what it sets off; nil: nothing.
	Watchers func(req *request.Request) int
	// Now is the clock; nil: the system's.
	Now func() time.Time
}

// Fairness is the flow control of an API server.
type Fairness struct {
	cfg      Config
	log      *slog.Logger
	watched  *client.Informers
	schemas  *client.Informer[*flowcontrolv1.FlowSchema]
	levels   *client.Informer[*flowcontrolv1.PriorityLevelConfiguration]
	queue    *client.Queue[string]
	metrics  *metrics
	dispatch dispatcher
	told     map[types.UID]string // schemas whose status was written, and their resourceVersion before that
	begin    func()               // closes begun
	begun    chan struct{}

	mu    sync.RWMutex
	rules []*rule // by precedence
}

// New makes the flow control. Until Run has read the configuration, that of upstream's defaults holds.
func New(cfg Config) *Fairness {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	f := &Fairness{cfg: cfg, log: slog.Default().With("component", "fairness"), watched: client.NewInformers(cfg.API), queue: client.NewQueue[string]("fairness"), told: map[types.UID]string{}, begun: make(chan struct{})}
	f.begin = sync.OnceFunc(func() { close(f.begun) })
	f.schemas = client.InformerFor(f.watched, schemas)
	f.levels = client.InformerFor(f.watched, levels)
	f.schemas.OnChange(func(_, _ *flowcontrolv1.FlowSchema) { f.queue.Add("") })
	f.levels.OnChange(func(_, _ *flowcontrolv1.PriorityLevelConfiguration) { f.queue.Add("") })
	f.dispatch = dispatcher{now: cfg.Now, total: cfg.Seats, levels: map[string]*level{}, since: cfg.Now()}
	f.metrics = newMetrics(f)
	s, l := defaults()
	f.configure(s, l)
	return f
}

// Run follows the configuration until ctx ends, and keeps the objects that every cluster has.
func (f *Fairness) Run(ctx context.Context) error {
	f.watched.Start(ctx)
	if f.watched.WaitForSync(ctx) != nil {
		return nil
	}
	f.queue.Add("")
	client.RunWorkers(ctx, f.queue, 1, func(ctx context.Context, _ string) error { return f.reconcile(ctx) })
	return nil
}

// Ready fails until the objects that every cluster has are there and requests are sorted by them, and so told their UIDs.
func (f *Fairness) Ready(context.Context) error {
	select {
	case <-f.begun:
		return nil
	default:
		return errors.New("the default flow schemas and priority levels are not there yet")
	}
}

// Admit waits until the request may be served, or refuses it. The function it gives is called when the request has ended.
func (f *Fairness) Admit(ctx context.Context, req *request.Request) (func(), error) {
	// Parts of this process bound their own concurrency, and their refusal would only make them ask again.
	if req.Direct || req.LongRunning() && req.Verb != "watch" {
		return nil, nil
	}
	r := f.match(req)
	req.FlowSchemaUID, req.PriorityLevelUID = string(r.uid), string(r.levelUID)
	of := flow{r.name, r.distinguish(req)}
	w := f.estimate(req, r)
	f.metrics.width.WithLabelValues(r.level.name, r.name).Observe(float64(max(w.first, w.last)))
	if r.level.exempt {
		return f.admitted(f.dispatch.exempt(r.level, of, w, req)), nil
	}
	began := f.cfg.Now()
	ticket, queued, refused := f.dispatch.enter(r.level, of, w, req)
	if queued >= 0 {
		f.metrics.queued.WithLabelValues(r.level.name, r.name).Observe(float64(queued))
	}
	if refused == "" && ticket.waits() {
		refused = f.wait(ctx, ticket)
	}
	served := "true"
	if refused != "" {
		served = "false"
	}
	waited := f.cfg.Now().Sub(began)
	req.Aside(waited)
	f.metrics.waited.WithLabelValues(r.level.name, r.name, served).Observe(waited.Seconds())
	if refused != "" {
		f.metrics.refused.WithLabelValues(r.level.name, r.name, refused).Inc()
		return nil, tooMany()
	}
	return f.admitted(ticket), nil
}

// admitted is what is to be called when a request has ended that has its seats now. A watch gives them back at once: what it costs to begin has
// been paid.
func (f *Fairness) admitted(t *ticket) func() {
	if t.req.Verb == "watch" {
		f.end(t)
		return nil
	}
	return func() { f.end(t) }
}

// end gives the seats back, those of a write only when its watchers have been told.
func (f *Fairness) end(t *ticket) {
	if t.linger > 0 && !t.free {
		time.AfterFunc(t.linger, func() { f.dispatch.leave(t) })
	} else {
		f.dispatch.leave(t)
	}
	kind := "regular"
	if t.req.Verb == "watch" {
		kind = "watch"
	}
	f.metrics.executed.WithLabelValues(t.level.name, t.flow.schema, kind).Observe(f.cfg.Now().Sub(t.began).Seconds())
}

// wait ends when the ticket has its seats; else it tells why it never will.
func (f *Fairness) wait(ctx context.Context, t *ticket) string {
	limit := time.NewTimer(f.cfg.QueueWait)
	defer limit.Stop()
	why := timeOut
	select {
	case <-t.call:
		return ""
	case <-limit.C:
	case <-ctx.Done():
		why = cancelled
	}
	if f.dispatch.giveUp(t, why) {
		return why
	}
	return "" // it was called in that very moment
}

// tooMany has upstream's words and delay.
func tooMany() error {
	return apierrors.NewTooManyRequests("Too many requests, please try again later.", 1)
}
