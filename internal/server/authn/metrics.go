package authn

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hyperkube/internal/server/authn/jwt"
	"hyperkube/internal/server/reloads"
)

// remaining lives of certificates are upstream's buckets, from nothing to a year (seconds).
var remaining = []float64{0, 1800, 3600, 7200, 21600, 43200, 86400, 172800, 345600, 604800, 2592000, 7776000, 15552000, 31104000}

// metrics have upstream's names.
type metrics struct {
	attempts *prometheus.CounterVec
	duration *prometheus.HistogramVec
	reloads  *reloads.Counter
	who      *impersonationMetrics
	jwt      *jwt.Metrics
	tokens   *tokenMetrics

	certificates prometheus.Histogram
}

func newMetrics() *metrics {
	return &metrics{
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "authentication_attempts",
			Help: "Counter of authenticated attempts."}, []string{"result"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "authentication_duration_seconds",
			Help: "Authentication duration in seconds broken out by result.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 15)}, []string{"result"}),
		reloads: reloads.New("authentication"),
		who:     newImpersonationMetrics(),
		jwt:     jwt.NewMetrics(),
		tokens:  newTokenMetrics(),
		certificates: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "apiserver_client_certificate_expiration_seconds",
			Help: "Distribution of the remaining lifetime on the certificate used to authenticate a request.", Buckets: remaining}),
	}
}

// Collectors are the authenticator's metrics.
func (a *Authenticator) Collectors() []prometheus.Collector {
	m := a.metrics
	return slices.Concat(m.who.collectors(), m.reloads.Collectors(), m.jwt.Collectors(), m.tokens.collectors(), []prometheus.Collector{m.attempts, m.duration, m.certificates})
}

func (m *metrics) attempt(start time.Time, known bool, err error) {
	result := "success"
	switch {
	case err != nil:
		result = "error"
	case !known:
		result = "failure"
	}
	m.attempts.WithLabelValues(result).Inc()
	m.duration.WithLabelValues(result).Observe(time.Since(start).Seconds())
}

// tokenMetrics count what tokens of service accounts are used.
type tokenMetrics struct {
	valid, stale                     prometheus.Counter // bound ones
	legacy, unasked, manual, invalid prometheus.Counter // those of the old kind
}

func newTokenMetrics() *tokenMetrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "serviceaccount_" + name, Help: help})
	}
	return &tokenMetrics{
		valid:   counter("valid_tokens_total", "Cumulative valid projected service account tokens used"),
		stale:   counter("stale_tokens_total", "Cumulative stale projected service account tokens used"),
		legacy:  counter("legacy_tokens_total", "Cumulative legacy service account tokens used"),
		unasked: counter("legacy_auto_token_uses_total", "Cumulative auto-generated legacy tokens used"),
		manual:  counter("legacy_manual_token_uses_total", "Cumulative manually created legacy tokens used"),
		invalid: counter("invalid_legacy_auto_token_uses_total", "Cumulative invalid auto-generated legacy tokens used"),
	}
}

func (m *tokenMetrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.valid, m.stale, m.legacy, m.unasked, m.manual, m.invalid}
}

// impersonationMetrics count by mode: of a request, that of the right that allowed it; of one question to the authorizer, its own.
type impersonationMetrics struct {
	attempts, questions        *prometheus.CounterVec
	attemptTime, questionsTime *prometheus.HistogramVec
}

func newImpersonationMetrics() *impersonationMetrics {
	labels, buckets := []string{"decision", "mode"}, prometheus.ExponentialBuckets(0.001, 2, 15)
	counter := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	histogram := func(name, help string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	}
	return &impersonationMetrics{
		attempts:      counter("apiserver_impersonation_attempts_total", "Total number of impersonation attempts."),
		attemptTime:   histogram("apiserver_impersonation_attempts_duration_seconds", "Latency of impersonation attempts in seconds."),
		questions:     counter("apiserver_impersonation_authorization_attempts_total", "Total number of authorization checks for impersonation."),
		questionsTime: histogram("apiserver_impersonation_authorization_attempts_duration_seconds", "Latency of authorization checks for impersonation in seconds."),
	}
}

func (m *impersonationMetrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.attempts, m.attemptTime, m.questions, m.questionsTime}
}

func (m *impersonationMetrics) attempt(start time.Time, mode string, err error) {
	decision := "allowed"
	if err != nil {
		decision, mode = "denied", ""
	}
	m.attempts.WithLabelValues(decision, mode).Inc()
	m.attemptTime.WithLabelValues(decision, mode).Observe(time.Since(start).Seconds())
}

func (m *impersonationMetrics) question(start time.Time, mode string, err error) {
	decision := "allowed"
	if err != nil {
		decision = "denied"
	}
	m.questions.WithLabelValues(decision, mode).Inc()
	m.questionsTime.WithLabelValues(decision, mode).Observe(time.Since(start).Seconds())
}
