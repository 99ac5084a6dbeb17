package encryption

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/status"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// metrics have upstream's names.
type metrics struct {
	duration   *prometheus.HistogramVec
	operations *prometheus.CounterVec
	calls      *prometheus.HistogramVec
	keys       *prometheus.CounterVec
	reloads    *prometheus.CounterVec
	reloadTime *prometheus.GaugeVec
}

func newMetrics() *metrics {
	return &metrics{
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "apiserver_storage_transformation_duration_seconds",
			Help:    "Latencies in seconds of value transformation operations.",
			Buckets: prometheus.ExponentialBuckets(5e-6, 2, 25)}, []string{"transformation_type", "transformer_prefix"}),
		operations: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "apiserver_storage_transformation_operations_total",
			Help: "Total number of transformations."}, []string{"resource", "status", "transformation_type", "transformer_prefix"}),
		calls: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "apiserver_envelope_encryption_kms_operations_latency_seconds",
			Help:    "KMS operation duration with gRPC error code status total.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 20)}, []string{"grpc_status_code", "method_name", "provider_name"}),
		keys: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "apiserver_envelope_encryption_key_id_hash_total",
			Help: "Number of times a keyID is used split by transformation type and provider."}, []string{"key_id_hash", "provider_name", "transformation_type"}),
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "apiserver_encryption_config_controller_automatic_reloads_total",
			Help: "Total number of reload successes and failures of encryption configuration."}, []string{"status"}),
		reloadTime: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "apiserver_encryption_config_controller_automatic_reload_last_timestamp_seconds",
			Help: "Timestamp of the last successful or failed automatic reload of encryption configuration."}, []string{"status"}),
	}
}

// Collectors are the set's metrics.
func (s *Set) Collectors() []prometheus.Collector {
	m := s.metrics
	return []prometheus.Collector{m.duration, m.operations, m.calls, m.keys, m.reloads, m.reloadTime}
}

func (m *metrics) observe(kind string, gr schema.GroupResource, prefix string, start time.Time, err error) {
	if prefix == "" {
		prefix = "identity"
	}
	m.duration.WithLabelValues(kind, prefix).Observe(time.Since(start).Seconds())
	code := "OK"
	if err != nil {
		code = "Unknown"
	}
	m.operations.WithLabelValues(gr.String(), code, kind, prefix).Inc()
}

func (m *metrics) call(provider, method string, start time.Time, err error) {
	m.calls.WithLabelValues(status.Code(err).String(), "/v2.KeyManagementService/"+method, provider).Observe(time.Since(start).Seconds())
}

func (m *metrics) key(provider, id string) {
	sum := sha256.Sum256([]byte(id))
	m.keys.WithLabelValues("sha256:"+hex.EncodeToString(sum[:]), provider, "to_storage").Inc()
}

func (m *metrics) reloaded(err error) {
	s := "success"
	if err != nil {
		s = "failure"
	}
	m.reloads.WithLabelValues(s).Inc()
	m.reloadTime.WithLabelValues(s).SetToCurrentTime()
}
