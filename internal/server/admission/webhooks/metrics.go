package webhooks

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"hyperkube/internal/server/admission"
)

// Metrics tell what webhooks said and how long they took, under upstream's names
// (https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#monitoring-admission-webhooks).
type Metrics struct {
	took       *prometheus.HistogramVec
	requests   *prometheus.CounterVec
	rejections *prometheus.CounterVec
	failedOpen *prometheus.CounterVec
}

// NewMetrics makes the metrics of one server.
func NewMetrics() *Metrics {
	return &Metrics{
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "apiserver_admission_webhook_admission_duration_seconds",
			Help:    "Admission webhook latency histogram in seconds, identified by name and broken out for each operation and API resource and type (validate or admit).",
			Buckets: []float64{0.005, 0.025, 0.1, 0.5, 1, 2.5, 10, 25}}, []string{"name", "operation", "rejected", "type"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "apiserver_admission_webhook_request_total",
			Help: "Admission webhook request total, identified by name and broken out for each admission type (validating or mutating) and operation. Additional labels specify whether the request was rejected or not and an HTTP status code. Codes greater than 600 are truncated to 600, to keep the metrics cardinality bounded."},
			[]string{"code", "name", "operation", "rejected", "type"}),
		rejections: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "apiserver_admission_webhook_rejection_count",
			Help: "Admission webhook rejection count, identified by name and broken out for each admission type (validating or admit) and operation. Additional labels specify an error type (calling_webhook_error or apiserver_internal_error if an error occurred; no_error otherwise) and optionally a non-zero rejection code if the webhook rejects the request with an HTTP status code (honored by the apiserver when the code is greater or equal to 400). Codes greater than 600 are truncated to 600, to keep the metrics cardinality bounded."},
			[]string{"error_type", "name", "operation", "rejection_code", "type"}),
		failedOpen: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "apiserver_admission_webhook_fail_open_count",
			Help: "Admission webhook fail open count, identified by name and broken out for each admission type (validating or mutating)."}, []string{"name", "type"}),
	}
}

// Collectors are what to register.
func (m *Metrics) Collectors() []prometheus.Collector {
	return []prometheus.Collector{m.took, m.requests, m.rejections, m.failedOpen}
}

// called counts a call: what it gave, and what became of a failure.
func (m *Metrics) called(h *hook, op admission.Operation, took time.Duration, refusal, failure error) {
	step := "validating"
	if h.kind == "mutating" {
		step = "admit"
	}
	code, rejected := 200, refusal != nil || failure != nil && !h.ignore
	switch {
	case refusal != nil:
		code = 0
		if s, ok := refusal.(apierrors.APIStatus); ok {
			code = min(int(s.Status().Code), 600)
		}
		m.rejections.WithLabelValues("no_error", h.name, string(op), strconv.Itoa(code), step).Inc()
	case failure != nil:
		code = 0
		if h.ignore {
			m.failedOpen.WithLabelValues(h.name, step).Inc()
		} else {
			m.rejections.WithLabelValues("calling_webhook_error", h.name, string(op), "0", step).Inc()
		}
	}
	m.took.WithLabelValues(h.name, string(op), strconv.FormatBool(rejected), step).Observe(took.Seconds())
	m.requests.WithLabelValues(strconv.Itoa(code), h.name, string(op), strconv.FormatBool(rejected), step).Inc()
}
