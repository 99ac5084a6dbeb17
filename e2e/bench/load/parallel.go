package load

import (
	"context"
	"errors"
	"math"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/client-go/rest"
)

// Clients is a number of clients, each with a connection of its own.
func Clients(cfg *rest.Config, format string, n int) ([]*API, error) {
	var all []*API
	for range n {
		a, err := NewAPI(own(cfg), format)
		if err != nil {
			return nil, err
		}
		all = append(all, a)
	}
	return all, nil
}

// Times of single requests, and of all together.
type Times struct {
	Each []time.Duration
	Wall time.Duration
}

// Rate is requests per second.
func (t Times) Rate() float64 { return float64(len(t.Each)) / t.Wall.Seconds() }

// P50 is the median.
func (t Times) P50() time.Duration { return Quantile(t.Each, 0.5) }

// Quantile of some durations.
func Quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(all))
	return s[min(len(s)-1, int(math.Ceil(q*float64(len(s))))-1)]
}

// Parallel has each client call f with numbers below total until none is left; the first error ends it.
func Parallel[C any](ctx context.Context, clients []C, total int, f func(ctx context.Context, c C, n int) error) (Times, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var next atomic.Int64
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	each := make([]time.Duration, total)
	began := time.Now()
	for _, c := range clients {
		wg.Go(func() {
			for ctx.Err() == nil {
				n := int(next.Add(1)) - 1
				if n >= total {
					return
				}
				at := time.Now()
				if err := f(ctx, c, n); err != nil {
					mu.Lock()
					errs = append(errs, err)
					mu.Unlock()
					cancel()
					return
				}
				each[n] = time.Since(at)
			}
		})
	}
	wg.Wait()
	t := Times{Each: each, Wall: time.Since(began)}
	if len(errs) > 0 {
		return t, errs[0]
	}
	return t, errors.Join(context.Cause(ctx))
}

// Thrifty has this process, which puts the load on, spend less: it collects its garbage less often, and leaves half of the processors to the system, since
// a Go program with little to do spends much on waking further ones.
func Thrifty() {
	debug.SetGCPercent(400)
	runtime.GOMAXPROCS(max(1, runtime.NumCPU()/2))
}
