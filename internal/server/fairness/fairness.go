// Package fairness decides which request may be served now, which waits and which is refused (API priority and fairness, KEP-1040).
//
// FlowSchemas sort requests into priority levels and, within a level, into flows. Each level has a share of the seats that the server has in
// all; a request takes as many as its work is thought to be worth. A level may use seats that others do not need, as far as they lend and it
// may borrow, and gets its own back as requests end. Requests for which there is no seat wait in queues: a flow is dealt a few of a level's
// queues, so that one that floods the server fills only those, and queues are served by how much of the level's time they have had.
//
// The exempt level never waits. Watches take their seats until they begin; other long requests take none. Everything is decided under
// one lock when a request comes or goes: there is no clock that adjusts limits, and an idle server does nothing.
package fairness

import (
	"context"
	"log/slog"
	"sync"
	"time"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

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
	// Objects tells how many objects of a resource there are, to judge the work of a list; nil: every request is worth one seat.
	Objects func(req *request.Request) int
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

	mu    sync.RWMutex
	rules []*rule // by precedence
}

// New makes the flow control. Until Run has read the configuration, that of upstream's defaults holds.
func New(cfg Config) *Fairness {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	f := &Fairness{cfg: cfg, log: slog.Default().With("component", "fairness"), watched: client.NewInformers(cfg.API), queue: client.NewQueue[string]("fairness")}
	f.schemas = client.InformerFor(f.watched, schemas)
	f.levels = client.InformerFor(f.watched, levels)
	f.schemas.OnChange(func(_, _ *flowcontrolv1.FlowSchema) { f.queue.Add("") })
	f.levels.OnChange(func(_, _ *flowcontrolv1.PriorityLevelConfiguration) { f.queue.Add("") })
	f.dispatch = dispatcher{now: cfg.Now, total: cfg.Seats, levels: map[string]*level{}}
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

// Admit waits until the request may be served, or refuses it. The function it gives is called when the request has ended.
func (f *Fairness) Admit(ctx context.Context, req *request.Request) (func(), error) {
	// Parts of this process bound their own concurrency, and their refusal would only make them ask again.
	if req.Direct || req.LongRunning() && req.Verb != "watch" {
		return nil, nil
	}
	r := f.match(req)
	req.FlowSchemaUID, req.PriorityLevelUID = string(r.uid), string(r.levelUID)
	of := flow{r.name, r.distinguish(req)}
	if r.level.exempt {
		return f.ending(f.dispatch.exempt(r.level, of, req)), nil
	}
	began := f.cfg.Now()
	width := f.width(req)
	f.metrics.width.WithLabelValues(r.level.name, r.name).Observe(float64(width))
	ticket, refused := f.dispatch.enter(r.level, of, width, req)
	if refused != "" {
		f.metrics.refused.WithLabelValues(r.level.name, r.name, refused).Inc()
		return nil, tooMany()
	}
	if ticket.waits() {
		if why := f.wait(ctx, ticket); why != "" {
			f.metrics.refused.WithLabelValues(r.level.name, r.name, why).Inc()
			return nil, tooMany()
		}
		f.metrics.waited.WithLabelValues(r.level.name, r.name, "true").Observe(f.cfg.Now().Sub(began).Seconds())
	}
	done := f.ending(ticket)
	if req.Verb == "watch" {
		done() // what it costs to begin has been paid
		return nil, nil
	}
	return done, nil
}

// ending is what is to be called when a request has ended.
func (f *Fairness) ending(t *ticket) func() {
	return func() {
		f.dispatch.leave(t)
		kind := "regular"
		if t.req.Verb == "watch" {
			kind = "watch"
		}
		f.metrics.executed.WithLabelValues(t.level.name, t.flow.schema, kind).Observe(f.cfg.Now().Sub(t.began).Seconds())
	}
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

// width is how many seats a request is worth: a list of many objects up to ten.
func (f *Fairness) width(req *request.Request) int {
	const objectsPerSeat, most = 100, 10
	if f.cfg.Objects == nil || req.Verb != "list" || !req.IsResourceRequest {
		return 1
	}
	return min(max((f.cfg.Objects(req)+objectsPerSeat-1)/objectsPerSeat, 1), most)
}
