package crd

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// What can go wrong with a conversion webhook, as the metrics call it.
const (
	callFailure      = "conversion_webhook_call_failure"
	malformedFailure = "conversion_webhook_malformed_response_failure"
	partialFailure   = "conversion_webhook_partial_response_failure"
	invalidFailure   = "conversion_webhook_invalid_converted_object_failure"
)

// metrics of conversion webhooks, under upstream's names.
type metrics struct {
	reviews  *prometheus.CounterVec
	duration *prometheus.HistogramVec
	byCRD    *prometheus.HistogramVec
}

func newMetrics() *metrics {
	buckets := []float64{0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 45, 60}
	return &metrics{
		reviews: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "apiserver_conversion_webhook_request_total",
			Help: "Counter for conversion webhook requests with success/failure and failure error type"}, []string{"failure_type", "result"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "apiserver_conversion_webhook_duration_seconds",
			Help: "Conversion webhook request latency", Buckets: buckets}, []string{"failure_type", "result"}),
		byCRD: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "apiserver_crd_conversion_webhook_duration_seconds",
			Help: "CRD webhook conversion duration in seconds", Buckets: buckets}, []string{"crd_name", "from_version", "succeeded", "to_version"}),
	}
}

// Collectors are the metrics of conversion webhooks.
func (d *Definitions) Collectors() []prometheus.Collector {
	return []prometheus.Collector{d.metrics.reviews, d.metrics.duration, d.metrics.byCRD}
}

// reviewed tells of one request to a webhook.
func (m *metrics) reviewed(start time.Time, err error) {
	kind, result := failureKind(err), "success"
	if err != nil {
		result = "failure"
	}
	m.reviews.WithLabelValues(kind, result).Inc()
	m.duration.WithLabelValues(kind, result).Observe(time.Since(start).Seconds())
}

// converted tells of one conversion, of one object or of many together.
func (m *metrics) converted(definition, from, to string, start time.Time, err error) {
	m.byCRD.WithLabelValues(definition, from, strconv.FormatBool(err == nil), to).Observe(time.Since(start).Seconds())
}

// forget drops what was counted for a definition that is gone.
func (m *metrics) forget(definition string) {
	m.byCRD.DeletePartialMatch(prometheus.Labels{"crd_name": definition})
}
