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

// deal takes the next specs, if there are any. A process takes over a second of a core to begin, so a hand is filled from the
// next areas, too; those of one area, which may disturb each other, still run one after the other as far as they fit.
func deal(left []specs.Spec, procs int) (taken, rest []specs.Spec) {
	// Towards the end, small hands keep all processes busy.
	size := min(len(left), max(1, min(hand, len(left)/(2*procs))))
	return left[:size], left[size:]
}

// Run runs the specs until all have a result, or ctx ends.
func Run(ctx context.Context, cfg Config, all []specs.Spec) []Result {
	cfg.Grace = cmp.Or(cfg.Grace, 45*time.Second)
	r := &run{cfg: cfg, total: len(all)}
	var quick, long, serial []specs.Spec
	for _, s := range all {
		switch {
		case s.Serial():
			serial = append(serial, s)
		case s.Slow() || slices.Contains(patient, s.Area):
			long = append(long, s)
		default:
			quick = append(quick, s)
		}
	}
	// Half of the processes begin with those that take long, so that nobody waits for them at the end.
	r.work(ctx, cfg.Procs, quick, long)
	r.work(ctx, 1, serial)
	return r.results
}

// patient are areas whose specs mostly wait.
var patient = []string{"Probes", "Job and CronJob", "StatefulSet"}

type run struct {
	cfg   Config
	total int

	mu      sync.Mutex
	left    [][]specs.Spec
	results []Result
	hands   int
}

// work plays all specs of some piles; each process has a pile that it prefers.
func (r *run) work(ctx context.Context, procs int, piles ...[]specs.Spec) {
	r.left = piles
	var wg sync.WaitGroup
	for i := range procs {
		wg.Go(func() {
			for {
				pile := r.pile(i)
				if pile < 0 {
					return
				}
				taken, number := r.next(pile, procs)
				if len(taken) == 0 {
					continue
				}
				if ctx.Err() != nil {
					for _, s := range taken {
						r.done(Result{Spec: s, State: NotRun, Cause: context.Cause(ctx).Error()})
					}
					continue
				}
				r.again(pile, play(ctx, r, number, taken))
			}
		})
	}
	wg.Wait()
}

// pile is the first pile that has specs left, beginning with the preferred one; -1 when there is none.
func (r *run) pile(preferred int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.left {
		if p := (preferred + i) % len(r.left); len(r.left[p]) > 0 {
			return p
		}
	}
	return -1
}

// next takes a hand from a pile; another process may have taken the last one.
func (r *run) next(pile, procs int) ([]specs.Spec, int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	taken, rest := deal(r.left[pile], procs)
	r.left[pile] = rest
	r.hands++
	return slices.Clone(taken), r.hands
}

// again puts specs back that had no chance to run.
func (r *run) again(pile int, unplayed []specs.Spec) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.left[pile] = append(slices.Clone(unplayed), r.left[pile]...)
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
