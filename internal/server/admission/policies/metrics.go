package policies

import (
	"errors"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apiserver/pkg/cel"
)

// Metrics tell what policies said and how long they took, under upstream's names.
type Metrics struct {
	checks, mutations  *prometheus.CounterVec
	checking, mutating *prometheus.HistogramVec
}

// NewMetrics makes the metrics of one server.
func NewMetrics() *Metrics {
	labels := []string{"error_type", "policy", "policy_binding"}
	actions := append([]string{"enforcement_action"}, labels...)
	bounds := []float64{0.0000005, 0.001, 0.01, 0.1, 1}
	counter := func(name, help string, labels []string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, labels []string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: bounds}, labels)
	}
	return &Metrics{
		checks:    counter("apiserver_validating_admission_policy_check_total", "Validation admission policy check total, labeled by policy and further identified by binding and enforcement action taken.", actions),
		checking:  histogram("apiserver_validating_admission_policy_check_duration_seconds", "Validation admission latency for individual validation expressions in seconds, labeled by policy and further including binding and enforcement action taken.", actions),
		mutations: counter("apiserver_mutating_admission_policy_check_total", "Mutation admission policy check total, labeled by policy and further identified by binding.", labels),
		mutating:  histogram("apiserver_mutating_admission_policy_check_duration_seconds", "Mutation admission latency for individual mutation expressions in seconds, labeled by policy and binding.", labels),
	}
}

// Collectors are what to register.
func (m *Metrics) Collectors() []prometheus.Collector {
	return []prometheus.Collector{m.checks, m.checking, m.mutations, m.mutating}
}

func (m *Metrics) checked(policy, binding, action string, err error, took time.Duration) {
	m.checks.WithLabelValues(action, errorType(err), policy, binding).Inc()
	m.checking.WithLabelValues(action, errorType(err), policy, binding).Observe(took.Seconds())
}

func (m *Metrics) mutated(policy, binding string, err error, took time.Duration) {
	m.mutations.WithLabelValues(errorType(err), policy, binding).Inc()
	m.mutating.WithLabelValues(errorType(err), policy, binding).Observe(took.Seconds())
}

func errorType(err error) string {
	switch {
	case err == nil:
		return "no_error"
	case errors.Is(err, cel.ErrCompilation):
		return "compile_error"
	case strings.Contains(err.Error(), "cost budget"): // of which the library has no error to compare with
		return "out_of_budget"
	}
	return "invalid_error"
}
