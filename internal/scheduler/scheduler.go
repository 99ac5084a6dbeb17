package scheduler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"

	"hyperkube/internal/client"
	"hyperkube/internal/lifecycle"
	"hyperkube/internal/scheduler/placement"
)

// Scheduler gives pods their nodes.
type Scheduler struct {
	c         client.Interface
	cfg       Config
	profiles  map[string]*placement.Profile
	informers *client.Informers
	budgets   *client.Informer[*policyv1.PodDisruptionBudget]
	selectors *selectors
	metrics   *metrics
	log       *slog.Logger
	recorders map[string]record.EventRecorder

	ready chan struct{}
	wake  chan struct{} // holds a token when the queue may have something
	slots chan struct{} // one for each binding in flight
	// telling has one for each Scheduled event in flight.
	telling chan struct{}
	tasks   sync.WaitGroup
	turn    atomic.Pointer[time.Time] // since when the loop is with a pod; nil between

	mu      sync.Mutex
	state   *placement.State
	queue   *queue
	assumed map[types.UID]*item // placed, not yet seen on their node
}

// New makes a scheduler over c. The error names what is wrong with the configuration.
func New(c client.Interface, cfg Config) (*Scheduler, error) {
	profiles, err := cfg.profiles()
	if err != nil {
		return nil, fmt.Errorf("scheduler configuration: %w", err)
	}
	initial, longest, err := cfg.backoffs()
	if err != nil {
		return nil, fmt.Errorf("scheduler configuration: %w", err)
	}
	if cfg.BindingsInFlight <= 0 {
		cfg.BindingsInFlight = 64
	}
	s := &Scheduler{
		c: c, cfg: cfg, profiles: profiles,
		informers: client.NewInformers(c),
		metrics:   newMetrics(cfg.Metrics),
		log:       slog.Default().With("component", "scheduler"),
		recorders: map[string]record.EventRecorder{},
		ready:     make(chan struct{}),
		wake:      make(chan struct{}, 1),
		slots:     make(chan struct{}, cfg.BindingsInFlight),
		telling:   make(chan struct{}, max(1, cfg.BindingsInFlight/2)),
		state:     placement.NewState(rand.Uint64()),
		assumed:   map[types.UID]*item{},
	}
	s.queue = newQueue(initial, longest, func(p place, event string) {
		s.metrics.incoming.WithLabelValues(p.String(), event).Inc()
	})
	s.selectors = newSelectors(s.informers)
	s.state.SelectorFor = s.selectors.of
	s.budgets = client.InformerFor(s.informers, podDisruptionBudgets)
	s.metrics.watch(s)
	return s, nil
}

// Ready is closed when the caches are filled.
func (s *Scheduler) Ready() <-chan struct{} { return s.ready }

// Run schedules until ctx ends, and then waits for bindings in flight. With leader election it waits for the lease, and
// ends with an error when the lease is lost.
func (s *Scheduler) Run(ctx context.Context) error {
	for name := range s.profiles {
		s.recorders[name] = client.NewRecorder(ctx, s.c, name, "")
	}
	s.follow()
	s.informers.Start(ctx)
	if err := s.informers.WaitForSync(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("scheduler: fill caches: %w", err)
	}
	if ctx.Err() != nil {
		return nil
	}
	close(s.ready)
	s.log.Info("ready", "nodes", s.nodeCount())
	if s.cfg.Leading == nil {
		s.loop(ctx)
		return nil
	}
	return client.RunLeading(ctx, s.c, *s.cfg.Leading, s.loop)
}

func (s *Scheduler) nodeCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.NodeCount()
}

// loop takes one pod after the other.
func (s *Scheduler) loop(ctx context.Context) {
	defer s.tasks.Wait()
	flush := time.NewTicker(30 * time.Second)
	defer flush.Stop()
	for ctx.Err() == nil {
		it, due := s.next()
		if it != nil {
			s.schedule(ctx, it)
			continue
		}
		timer := time.NewTimer(time.Hour)
		if !due.IsZero() {
			timer.Reset(time.Until(due))
		}
		select {
		case <-ctx.Done():
		case <-s.wake:
		case <-timer.C:
		case now := <-flush.C:
			s.mu.Lock()
			s.queue.flush(now)
			s.mu.Unlock()
		}
		timer.Stop()
	}
}

func (s *Scheduler) next() (*item, time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	it := s.queue.pop(time.Now())
	if it == nil {
		return nil, s.queue.due()
	}
	return it, time.Time{}
}

// rouse makes the loop look at the queue again.
func (s *Scheduler) rouse() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Health is nil while the scheduler does its work: its caches are filled and the loop turns. A loop that has been with one pod for
// long is stuck, be it in placing it or since no binding comes to an end.
func (s *Scheduler) Health(context.Context) error {
	select {
	case <-s.ready:
	default:
		return errors.New("caches are not filled yet")
	}
	if since := s.turn.Load(); since != nil && time.Since(*since) > stuckAfter {
		return fmt.Errorf("no pod was placed since %s, though there are some to place", since.UTC().Format(time.RFC3339))
	}
	return nil
}

// stuckAfter is far more than any attempt takes, and more than a request to the API server may.
var stuckAfter = 90 * time.Second

// schedule makes one attempt for a pod.
func (s *Scheduler) schedule(ctx context.Context, it *item) {
	began := time.Now()
	s.turn.Store(&began)
	defer s.turn.Store(nil)
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return
	}
	start := time.Now()
	s.mu.Lock()
	if s.queue.all[it.pod.UID] != it {
		// It went away, or got its node, while this waited.
		s.mu.Unlock()
		<-s.slots
		return
	}
	result, err := s.state.Place(it.profile, it.ready)
	s.metrics.algorithm.Observe(time.Since(start).Seconds())
	if err == nil {
		s.state.Nominate(it.ready, "")
		s.state.AddPod(it.ready, result.Node)
		s.assumed[it.pod.UID] = it
		s.mu.Unlock()
		s.do(func() {
			defer func() { <-s.slots }()
			s.bind(ctx, it, result.Node, start)
		})
		return
	}
	after := s.fail(it, err, start)
	s.mu.Unlock()
	s.do(func() {
		defer func() { <-s.slots }()
		after(ctx)
	})
}

func (s *Scheduler) do(f func()) {
	s.tasks.Add(1)
	go func() {
		defer s.tasks.Done()
		if err := lifecycle.Guard(func() error { f(); return nil }); err != nil {
			s.log.Error("a binding failed", "error", err)
		}
	}()
}

// fail decides what becomes of a pod that got no node. It gives what is to be told to the API. Needs the lock.
func (s *Scheduler) fail(it *item, err error, start time.Time) func(context.Context) {
	now := time.Now()
	s.queue.attempted(it, now)
	pod := it.pod
	var f *placement.Failure
	if !errors.As(err, &f) {
		it.failed, it.refused = true, 0
		s.queue.put(it, backoff, now, "ScheduleAttemptFailure")
		s.metrics.attempt("error", it.profile.Name, start)
		return func(ctx context.Context) { s.tell(ctx, it, pod, reasonSchedulerError, err.Error(), "") }
	}
	it.failed, it.refused = false, f.Plugins
	s.metrics.attempt("unschedulable", it.profile.Name, start)
	victims := s.state.Preempt(it.profile, it.ready, f, s.budgets.List())
	s.queue.put(it, waiting, now, "ScheduleAttemptFailure")
	message := f.Error()
	nominated := s.state.NominatedNode(pod.UID)
	if victims == nil {
		if f.Preemption != "" && nominated != "" && !stillNominated(f) {
			nominated = ""
			s.state.Nominate(it.ready, "")
		}
		return func(ctx context.Context) { s.tell(ctx, it, pod, corev1.PodReasonUnschedulable, message, nominated) }
	}
	s.state.Nominate(it.ready, victims.Node)
	for _, lower := range victims.Lower {
		if other := s.queue.all[lower.UID]; other != nil {
			s.state.Nominate(other.ready, "")
			s.queue.retry(other, now, "Preempted")
		}
	}
	s.metrics.preemptions.Inc()
	s.metrics.victims.Observe(float64(len(victims.Victims)))
	return func(ctx context.Context) {
		s.preempt(ctx, it, pod, victims)
		s.tell(ctx, it, pod, corev1.PodReasonUnschedulable, message, victims.Node)
	}
}

// stillNominated says whether the pod keeps its node because its victims are on their way out.
func stillNominated(f *placement.Failure) bool {
	return f.Preemption == "not eligible due to a terminating pod on the nominated node."
}

// reasonSchedulerError is upstream's reason of PodScheduled after an attempt that ended in an error.
const reasonSchedulerError = "SchedulerError"

var podDisruptionBudgets = client.Resource[*policyv1.PodDisruptionBudget]{GVR: policyv1.SchemeGroupVersion.WithResource("poddisruptionbudgets")}
