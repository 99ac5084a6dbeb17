package encryption

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/status"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"hyperkube/internal/server/reloads"
)

// metrics have upstream's names.
type metrics struct {
	duration   *prometheus.HistogramVec
	operations *prometheus.CounterVec
	calls      *prometheus.HistogramVec
	keys       *prometheus.CounterVec
	keyTime    *prometheus.GaugeVec
	seeds      *prometheus.GaugeVec
	reloads    *reloads.Counter
}

var keyLabels = []string{"apiserver_id_hash", "key_id_hash", "provider_name", "transformation_type"}

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
			Help: "Number of times a keyID is used split by transformation type and provider."}, keyLabels),
		keyTime: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "apiserver_envelope_encryption_key_id_hash_last_timestamp_seconds",
			Help: "The last time in seconds when a keyID was used."}, keyLabels),
		seeds: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "apiserver_envelope_encryption_dek_source_cache_size",
			Help: "Number of records in data encryption key (DEK) source cache."}, []string{"provider_name"}),
		reloads: reloads.New("encryption"),
	}
}

// Collectors are the set's metrics.
func (s *Set) Collectors() []prometheus.Collector {
	m := s.metrics
	return append(m.reloads.Collectors(), m.duration, m.operations, m.calls, m.keys, m.keyTime, m.seeds)
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

// key counts the use of a plugin's key.
func (m *metrics) key(provider, kind, id string) {
	labels := []string{reloads.Identity(), reloads.Digest(id), provider, kind}
	m.keys.WithLabelValues(labels...).Inc()
	m.keyTime.WithLabelValues(labels...).SetToCurrentTime()
}
