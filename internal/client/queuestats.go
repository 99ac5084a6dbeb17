package client

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hyperkube/internal/counts"
)

// timed is the line of a queue: it notes when each key came. The work queue calls it under its lock.
type timed[K comparable] struct {
	line  []waiting[K]
	stats *queueStats
}

type waiting[K comparable] struct {
	key   K
	since time.Time
}

func (t *timed[K]) Touch(K) {}

func (t *timed[K]) Len() int { return len(t.line) }

func (t *timed[K]) Push(key K) {
	t.line = append(t.line, waiting[K]{key, time.Now()})
	t.stats.adds.Add(1)
	t.stats.depth.Add(1)
}

func (t *timed[K]) Pop() K {
	first := t.line[0]
	t.line[0] = waiting[K]{} // what the array still holds shall not keep the key alive
	t.line = t.line[1:]
	t.stats.depth.Add(-1)
	t.stats.waited.Add(time.Since(first.since).Seconds())
	return first.key
}

// queueStats count what goes through one queue.
type queueStats struct {
	name           string
	adds, retries  atomic.Uint64
	depth          atomic.Int64
	waited, worked *counts.Histogram // seconds

	mu      sync.Mutex
	workers []*atomic.Int64 // when the key began that each works on, in nanoseconds; 0: it has none
}

func (s *queueStats) worker() *atomic.Int64 {
	w := &atomic.Int64{}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.workers = append(s.workers, w)
	return w
}

// busy is how long keys have been worked on that are not done, all together and the longest.
func (s *queueStats) busy(now time.Time) (all, longest float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.workers {
		if began := w.Load(); began != 0 {
			d := now.Sub(time.Unix(0, began)).Seconds()
			all, longest = all+d, max(longest, d)
		}
	}
	return all, longest
}

// durationBounds in seconds are upstream's.
var durationBounds = prometheus.ExponentialBuckets(1e-8, 10, 10)

// QueueStats shows the work queues of one role in metrics, under upstream's names. What runs with its context is counted ([WithQueueStats]).
type QueueStats struct {
	mu  sync.Mutex
	all map[*queueStats]struct{}
}

type queueStatsKey struct{}

// NewQueueStats makes an empty set.
func NewQueueStats() *QueueStats { return &QueueStats{all: map[*queueStats]struct{}{}} }

// WithQueueStats has the set show the queues whose workers run with the context.
func WithQueueStats(ctx context.Context, s *QueueStats) context.Context {
	return context.WithValue(ctx, queueStatsKey{}, s)
}

func shown(ctx context.Context, q *queueStats) {
	if s, ok := ctx.Value(queueStatsKey{}).(*QueueStats); ok {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.all[q] = struct{}{}
	}
}

func queueDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("workqueue_"+name, help, []string{"name"}, nil)
}

var (
	addsDesc    = queueDesc("adds_total", "Total number of adds handled by workqueue")
	depthDesc   = queueDesc("depth", "Current depth of workqueue")
	retriesDesc = queueDesc("retries_total", "Total number of retries handled by workqueue")
	waitedDesc  = queueDesc("queue_duration_seconds", "How long in seconds an item stays in workqueue before being requested.")
	workedDesc  = queueDesc("work_duration_seconds", "How long in seconds processing an item from workqueue takes.")
	busyDesc    = queueDesc("unfinished_work_seconds", "How many seconds of work has done that is in progress and hasn't been observed by work_duration. Large values indicate stuck threads. One can deduce the number of stuck threads by observing the rate at which this increases.")
	longestDesc = queueDesc("longest_running_processor_seconds", "How many seconds has the longest running processor for workqueue been running.")
)

// Describe implements prometheus.Collector.
func (s *QueueStats) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{addsDesc, depthDesc, retriesDesc, waitedDesc, workedDesc, busyDesc, longestDesc} {
		ch <- d
	}
}

// queueSum is all queues of one name: one that is made anew goes on where the last left off.
type queueSum struct {
	adds, depth, retries, busy, longest float64
	waited, worked                      counts.Total
}

// Collect implements prometheus.Collector.
func (s *QueueStats) Collect(ch chan<- prometheus.Metric) {
	sums, now := map[string]*queueSum{}, time.Now()
	s.mu.Lock()
	for q := range s.all {
		sum := sums[q.name]
		if sum == nil {
			sum = &queueSum{}
			sums[q.name] = sum
		}
		busy, longest := q.busy(now)
		sum.adds += float64(q.adds.Load())
		sum.depth += float64(q.depth.Load())
		sum.retries += float64(q.retries.Load())
		sum.busy += busy
		sum.longest = math.Max(sum.longest, longest)
		sum.waited.Add(q.waited)
		sum.worked.Add(q.worked)
	}
	s.mu.Unlock()
	for name, sum := range sums {
		ch <- prometheus.MustNewConstMetric(addsDesc, prometheus.CounterValue, sum.adds, name)
		ch <- prometheus.MustNewConstMetric(depthDesc, prometheus.GaugeValue, sum.depth, name)
		ch <- prometheus.MustNewConstMetric(retriesDesc, prometheus.CounterValue, sum.retries, name)
		ch <- sum.waited.Metric(waitedDesc, name)
		ch <- sum.worked.Metric(workedDesc, name)
		ch <- prometheus.MustNewConstMetric(busyDesc, prometheus.GaugeValue, sum.busy, name)
		ch <- prometheus.MustNewConstMetric(longestDesc, prometheus.GaugeValue, sum.longest, name)
	}
}
