package authz

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hyperkube/internal/server/reloads"
)

// metrics have upstream's names.
type metrics struct {
	decisions, evaluations, failOpen *prometheus.CounterVec
	excluded, unmatched              *prometheus.CounterVec
	duration, matching               *prometheus.HistogramVec
	reloads                          *reloads.Counter
}

func newMetrics() *metrics {
	return &metrics{
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "apiserver_authorization_decisions_total",
			Help: "Total number of terminal decisions made by an authorizer split by authorizer type, name, and decision."}, []string{"decision", "name", "type"}),
		evaluations: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "apiserver_authorization_webhook_evaluations_total",
			Help: "Round-trips to authorization webhooks."}, []string{"name", "result"}),
		failOpen: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "apiserver_authorization_webhook_evaluations_fail_open_total",
			Help: "NoOpinion results due to webhook timeout or error."}, []string{"name", "result"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "apiserver_authorization_webhook_duration_seconds",
			Help: "Request latency in seconds.", Buckets: prometheus.DefBuckets}, []string{"name", "result"}),
		excluded: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "apiserver_authorization_match_condition_exclusions_total",
			Help: "Total number of exclusions when an authorization webhook is skipped because match conditions exclude it."}, []string{"name", "type"}),
		unmatched: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "apiserver_authorization_match_condition_evaluation_errors_total",
			Help: "Total number of errors when an authorization webhook encounters a match condition error split by authorizer type and name."}, []string{"name", "type"}),
		matching: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "apiserver_authorization_match_condition_evaluation_seconds",
			Help: "Authorization match condition evaluation time in seconds, split by authorizer type and name.", Buckets: []float64{0.001, 0.005, 0.01, 0.025, 0.1, 0.2, 0.25}}, []string{"name", "type"}),
		reloads: reloads.New("authorization"),
	}
}

// Collectors are the authorizer's metrics.
func (a *Authorizer) Collectors() []prometheus.Collector {
	m := a.metrics
	return append(m.reloads.Collectors(), m.decisions, m.evaluations, m.failOpen, m.duration, m.excluded, m.unmatched, m.matching)
}

// The rest tells of match conditions (authorizationcel.MatcherMetrics).

func (m *metrics) RecordAuthorizationMatchConditionEvaluation(_ context.Context, kind, name string, d time.Duration) {
	m.matching.WithLabelValues(name, kind).Observe(d.Seconds())
}

func (m *metrics) RecordAuthorizationMatchConditionEvaluationFailure(_ context.Context, kind, name string) {
	m.unmatched.WithLabelValues(name, kind).Inc()
}

func (m *metrics) RecordAuthorizationMatchConditionExclusion(_ context.Context, kind, name string) {
	m.excluded.WithLabelValues(name, kind).Inc()
}

func (m *metrics) call(name, result string, start time.Time) {
	m.evaluations.WithLabelValues(name, result).Inc()
	m.duration.WithLabelValues(name, result).Observe(time.Since(start).Seconds())
}
