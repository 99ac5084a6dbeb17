// Package suite runs specs of upstream's e2e.test against a cluster, several at a time, and never waits for ever.
//
// The specs are dealt to processes of e2e.test in small hands: each process runs its hand one by one, and what it prints tells
// which spec runs. A spec that takes longer than its limit is interrupted; what was left of the hand is dealt again.
// Serial specs come last and alone. A run that takes longer than its own limit ends, and what has not run counts as such.
package suite

import (
	"cmp"
	"context"
	"os/exec"
	"slices"
	"sync"
	"time"

	"hyperkube/e2e/conformance/internal/specs"
)

// State is how a spec ended.
type State string

// The states.
const (
	Passed   State = "passed"
	Failed   State = "failed"
	Skipped  State = "skipped"
	TimedOut State = "timed out"
	NotRun   State = "not run"
)

// Result of one spec.
type Result struct {
	Spec  specs.Spec
	State State
	Took  time.Duration
	// Cause is why it did not pass: the first lines of what it said.
	Cause string
}

// Config of a run.
type Config struct {
	// Command gives a command that runs e2e.test where it reaches the cluster.
	Command func(args ...string) *exec.Cmd
	// Args are for every process.
	Args []string
	// Logs is a directory for what each spec prints.
	Logs  string
	Procs int
	// Limit of a spec; slow ones get three times as much.
	Limit time.Duration
	// Grace is how long an interrupted process has to undo what its spec did; 45 seconds unless set.
	Grace time.Duration
	// Report is told of every result as it comes.
	Report func(Result, Progress)
}

// Progress of a run.
type Progress struct{ Done, Of int }

// hand is what one process runs.
const hand = 4

// deal takes the next specs: of one area, so that those which disturb each other run one after the other.
func deal(left []specs.Spec, procs int) (taken, rest []specs.Spec) {
	// Towards the end, small hands keep all processes busy.
	size := max(1, min(hand, len(left)/(2*procs)))
	n := 0
	for n < len(left) && n < size && left[n].Area == left[0].Area {
		n++
	}
	return left[:n], left[n:]
}

// Run runs the specs until all have a result, or ctx ends.
func Run(ctx context.Context, cfg Config, all []specs.Spec) []Result {
	cfg.Grace = cmp.Or(cfg.Grace, 45*time.Second)
	r := &run{cfg: cfg, total: len(all)}
	var parallel, serial []specs.Spec
	for _, s := range all {
		if s.Serial() {
			serial = append(serial, s)
		} else {
			parallel = append(parallel, s)
		}
	}
	// Those that take longest go first, so that nobody waits for them at the end.
	slices.SortStableFunc(parallel, func(a, b specs.Spec) int { return weight(b) - weight(a) })
	r.work(ctx, parallel, cfg.Procs)
	r.work(ctx, serial, 1)
	return r.results
}

func weight(s specs.Spec) int {
	if s.Slow() {
		return 2
	}
	if s.Area == "Probes" || s.Area == "Job and CronJob" {
		return 1
	}
	return 0
}

type run struct {
	cfg   Config
	total int

	mu      sync.Mutex
	left    []specs.Spec
	results []Result
	hands   int
}

func (r *run) work(ctx context.Context, all []specs.Spec, procs int) {
	r.left = all
	var wg sync.WaitGroup
	for range procs {
		wg.Go(func() {
			for {
				taken, number := r.next(procs)
				if len(taken) == 0 {
					return
				}
				if ctx.Err() != nil {
					for _, s := range taken {
						r.done(Result{Spec: s, State: NotRun, Cause: context.Cause(ctx).Error()})
					}
					continue
				}
				r.again(play(ctx, r, number, taken))
			}
		})
	}
	wg.Wait()
}

func (r *run) next(procs int) ([]specs.Spec, int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.left) == 0 {
		return nil, 0
	}
	taken, rest := deal(r.left, procs)
	r.left = rest
	r.hands++
	return slices.Clone(taken), r.hands
}

// again puts specs back that had no chance to run.
func (r *run) again(unplayed []specs.Spec) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.left = append(slices.Clone(unplayed), r.left...)
}

func (r *run) done(res Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.results = append(r.results, res)
	r.cfg.Report(res, Progress{len(r.results), r.total})
}

func (r *run) limit(s specs.Spec) time.Duration {
	if s.Slow() {
		return 3 * r.cfg.Limit
	}
	return r.cfg.Limit
}
