package audit

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
)

// The modes of delivery.
const (
	Batch          = "batch"
	Blocking       = "blocking"
	BlockingStrict = "blocking-strict"
)

// Delivery is how events get to where they go.
type Delivery struct {
	Mode string
	// The rest but Truncate is for mode batch. BufferSize bounds the waiting events, MaxSize those of one batch; a batch that is not
	// full goes after MaxWait, zero: at once.
	BufferSize, MaxSize int
	MaxWait             time.Duration
	Throttle            bool
	QPS                 float64
	Burst               int
	// Truncate, when set, bounds the sizes.
	Truncate *Truncate
}

func (d *Delivery) check(plugin string) error {
	flag := "--audit-" + plugin
	modes := []string{Batch, Blocking, BlockingStrict}
	if !slices.Contains(modes, d.Mode) {
		return fmt.Errorf("%s-mode: %q is not known; there are %s", flag, d.Mode, strings.Join(modes, ", "))
	}
	if t := d.Truncate; t != nil {
		if t.MaxEvent <= 0 || t.MaxBatch < t.MaxEvent {
			return fmt.Errorf("%s-truncate-max-event-size: must be above 0 and not above %s-truncate-max-batch-size", flag, flag)
		}
	}
	if d.Mode != Batch {
		return nil
	}
	switch {
	case d.BufferSize <= 0:
		return fmt.Errorf("%s-batch-buffer-size: must be above 0", flag)
	case d.MaxSize <= 0:
		return fmt.Errorf("%s-batch-max-size: must be above 0", flag)
	case d.Throttle && d.QPS <= 0:
		return fmt.Errorf("%s-batch-throttle-qps: must be above 0", flag)
	case d.Throttle && d.Burst <= 0:
		return fmt.Errorf("%s-batch-throttle-burst: must be above 0", flag)
	}
	return nil
}

// sink takes events; write is never called with none.
type sink interface {
	write(ctx context.Context, events []*auditv1.Event) error
	// parallel is how many writes may run at once.
	parallel() int
}

// outlet brings events to a sink.
type outlet struct {
	plugin  string
	d       Delivery
	sink    sink
	metrics *metrics
	log     *slog.Logger
	buffer  chan *auditv1.Event // nil unless batched
	limit   *rate.Limiter
}

func newOutlet(plugin string, d Delivery, s sink, m *metrics) *outlet {
	o := &outlet{plugin: plugin, d: d, sink: s, metrics: m, log: slog.Default().With("component", "audit", "plugin", plugin)}
	m.errors.WithLabelValues(plugin)
	if d.Mode == Batch {
		o.buffer = make(chan *auditv1.Event, d.BufferSize)
		o.limit = rate.NewLimiter(rate.Inf, 0)
		if d.Throttle {
			o.limit = rate.NewLimiter(rate.Limit(d.QPS), d.Burst)
		}
	}
	return o
}

// send takes an event; false: the request must not go on.
func (o *outlet) send(ev *auditv1.Event) bool {
	if o.buffer == nil {
		err := o.deliver(context.Background(), []*auditv1.Event{ev})
		return err == nil || o.d.Mode != BlockingStrict || ev.Stage != auditv1.StageRequestReceived
	}
	select {
	case o.buffer <- ev:
	default:
		o.lost(1, fmt.Errorf("the buffer of %d events is full", o.d.BufferSize))
	}
	return true
}

func (o *outlet) lost(n int, err error) {
	o.metrics.errors.WithLabelValues(o.plugin).Add(float64(n))
	o.log.Error("audit events are lost", "events", n, "err", err)
}

func (o *outlet) deliver(ctx context.Context, events []*auditv1.Event) error {
	batches := [][]*auditv1.Event{events}
	if o.d.Truncate != nil {
		var dropped int
		if batches, dropped = o.d.Truncate.split(events); dropped > 0 {
			o.lost(dropped, fmt.Errorf("they are larger than %d bytes without their bodies", o.d.Truncate.MaxEvent))
		}
	}
	var failed error
	for _, b := range batches {
		if err := o.sink.write(ctx, b); err != nil {
			o.lost(len(b), err)
			failed = err
		}
	}
	return failed
}

// flushTime bounds the writing of what is left at the end.
const flushTime = 30 * time.Second

// run writes batches until ctx ends and the buffer is empty.
func (o *outlet) run(ctx context.Context) {
	if o.buffer == nil {
		<-ctx.Done()
		return
	}
	last, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(flushTime, cancel) })()
	slots := make(chan struct{}, o.sink.parallel())
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		batch := o.collect(ctx)
		if len(batch) == 0 {
			return
		}
		if ctx.Err() == nil && o.limit.Wait(ctx) != nil && ctx.Err() == nil {
			o.lost(len(batch), fmt.Errorf("the throttle refuses"))
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			_ = o.deliver(last, batch) // it was counted and logged
		})
	}
}

// collect waits for the next batch; after the end of ctx it takes what is there, none when there is nothing.
func (o *outlet) collect(ctx context.Context) []*auditv1.Event {
	var batch []*auditv1.Event
	select {
	case ev := <-o.buffer:
		batch = append(batch, ev)
	case <-ctx.Done():
	}
	var late <-chan time.Time
	if len(batch) > 0 && o.d.MaxWait > 0 {
		t := time.NewTimer(o.d.MaxWait)
		defer t.Stop()
		late = t.C
	}
	for len(batch) < o.d.MaxSize {
		if late == nil || ctx.Err() != nil {
			select {
			case ev := <-o.buffer:
				batch = append(batch, ev)
				continue
			default:
				return batch
			}
		}
		select {
		case ev := <-o.buffer:
			batch = append(batch, ev)
		case <-late:
			return batch
		case <-ctx.Done():
		}
	}
	return batch
}
