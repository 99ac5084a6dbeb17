package server

import (
	"math"
	"sort"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// Bounds of buckets; upstream's. Times are in seconds, sizes in bytes.
var (
	durationBounds = []float64{0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60}
	ownBounds      = durationBounds[2:]
	sizeBounds     = []float64{1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9}
)

// counts is a histogram whose metric is made when somebody asks.
type counts struct {
	bounds  []float64
	buckets []atomic.Uint64
	count   atomic.Uint64
	sum     atomic.Uint64 // bits of a float
}

func newCounts(bounds []float64) counts {
	return counts{bounds: bounds, buckets: make([]atomic.Uint64, len(bounds))}
}

func (s *counts) add(v float64) {
	s.count.Add(1)
	if i := sort.SearchFloat64s(s.bounds, v); i < len(s.buckets) {
		s.buckets[i].Add(1)
	}
	for {
		was := s.sum.Load()
		if s.sum.CompareAndSwap(was, math.Float64bits(math.Float64frombits(was)+v)) {
			return
		}
	}
}

// total adds up sums with the same bounds.
type total struct {
	count   uint64
	sum     float64
	buckets map[float64]uint64
}

func (t *total) add(s *counts) {
	if t.buckets == nil {
		t.buckets = make(map[float64]uint64, len(s.bounds))
	}
	t.count += s.count.Load()
	t.sum += math.Float64frombits(s.sum.Load())
	below := uint64(0)
	for i, b := range s.bounds {
		below += s.buckets[i].Load()
		t.buckets[b] += below
	}
}

func (t *total) metric(d *prometheus.Desc, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstHistogram(d, t.count, t.sum, t.buckets, labels...)
}

// sums are those of the requests that differ in nothing but the code of the answer.
type sums struct{ duration, own, sizes total }

func (s *sums) add(c *requestCount) {
	s.duration.add(&c.duration)
	s.own.add(&c.own)
	s.sizes.add(&c.sizes)
}

// authorizations count what the authorizer says of requests.
type authorizations struct {
	attempts *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

func newAuthorizations() *authorizations {
	return &authorizations{
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "authorization_attempts_total",
			Help: "Counter of authorization attempts broken down by result. It can be either 'allowed', 'denied', 'no-opinion' or 'error'."}, []string{"result"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "authorization_duration_seconds",
			Help: "Authorization duration in seconds broken out by result.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 15)}, []string{"result"}),
	}
}

func (a *authorizations) observe(start time.Time, d authorizer.Decision, err error) {
	result := "no-opinion"
	switch {
	case d == authorizer.DecisionAllow:
		result = "allowed"
	case err != nil:
		result = "error"
	case d == authorizer.DecisionDeny:
		result = "denied"
	}
	a.attempts.WithLabelValues(result).Inc()
	a.duration.WithLabelValues(result).Observe(time.Since(start).Seconds())
}

// Describe implements prometheus.Collector.
func (a *authorizations) Describe(ch chan<- *prometheus.Desc) {
	a.attempts.Describe(ch)
	a.duration.Describe(ch)
}

// Collect implements prometheus.Collector.
func (a *authorizations) Collect(ch chan<- prometheus.Metric) {
	a.attempts.Collect(ch)
	a.duration.Collect(ch)
}
