package client

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/client-go/util/workqueue"

	"hyperkube/internal/counts"
)

// Queue holds keys that need work, each at most once however often it was added, and
// never gives one key to two workers at a time.
type Queue[K comparable] struct {
	workqueue.TypedRateLimitingInterface[K]
	stats *queueStats
}

// NewQueue makes a queue. Failed keys come back after 5 ms, doubling up to 5 minutes.
func NewQueue[K comparable](name string) *Queue[K] {
	return NewQueueWithBackoff[K](name, 5*time.Millisecond, 5*time.Minute)
}

// NewQueueWithBackoff makes a queue whose failed keys come back after min, doubling up to max.
func NewQueueWithBackoff[K comparable](name string, min, max time.Duration) *Queue[K] {
	limit := workqueue.NewTypedItemExponentialFailureRateLimiter[K](min, max)
	stats := &queueStats{name: name, waited: counts.New(durationBounds), worked: counts.New(durationBounds)}
	line := workqueue.NewTypedWithConfig(workqueue.TypedQueueConfig[K]{Queue: &timed[K]{stats: stats}})
	late := workqueue.NewTypedDelayingQueueWithConfig(workqueue.TypedDelayingQueueConfig[K]{Queue: line})
	return &Queue[K]{workqueue.NewTypedRateLimitingQueueWithConfig(limit, workqueue.TypedRateLimitingQueueConfig[K]{DelayingQueue: late}), stats}
}

// AddRateLimited puts a key that failed back, later each time.
func (q *Queue[K]) AddRateLimited(key K) {
	q.stats.retries.Add(1)
	q.TypedRateLimitingInterface.AddRateLimited(key)
}

// RunWorkers calls reconcile for the queue's keys from n goroutines until ctx ends, and returns when the last
// call has. An error, or a panic, puts the key back with a growing delay.
func RunWorkers[K comparable](ctx context.Context, q *Queue[K], n int, reconcile func(context.Context, K) error) {
	stop := context.AfterFunc(ctx, q.ShutDown)
	defer stop()
	shown(ctx, q.stats)
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			busy := q.stats.worker()
			for q.work(ctx, busy, reconcile) {
			}
		})
	}
	wg.Wait()
}

func (q *Queue[K]) work(ctx context.Context, busy *atomic.Int64, reconcile func(context.Context, K) error) bool {
	key, down := q.Get()
	if down {
		return false
	}
	defer q.Done(key)
	if ctx.Err() != nil {
		return true
	}
	began := time.Now()
	busy.Store(began.UnixNano())
	defer func() {
		busy.Store(0)
		q.stats.worked.Add(time.Since(began).Seconds())
	}()
	err := guarded(ctx, key, reconcile)
	if err == nil {
		q.Forget(key)
		return true
	}
	if ctx.Err() == nil {
		slog.Default().Info("reconcile failed, trying again", "component", q.stats.name, "key", fmt.Sprint(key), "error", err)
		q.AddRateLimited(key)
	}
	return true
}

func guarded[K comparable](ctx context.Context, key K, reconcile func(context.Context, K) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return reconcile(ctx, key)
}
