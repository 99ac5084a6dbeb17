package server

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"hyperkube/internal/counts"
)

// Bounds of buckets; upstream's. Times are in seconds, sizes in bytes.
var (
	durationBounds = []float64{0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60}
	ownBounds      = durationBounds[2:]
	sizeBounds     = []float64{1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9}
)

// sums are those of the requests that differ in nothing but the code of the answer.
type sums struct{ duration, own, sizes counts.Total }

func (s *sums) add(c *requestCount) {
	s.duration.Add(c.duration)
	s.own.Add(c.own)
	s.sizes.Add(c.sizes)
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
