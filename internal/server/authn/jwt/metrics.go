package jwt

import (
	"bytes"
	"io"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hyperkube/internal/server/reloads"
)

// Metrics of all issuers, under upstream's names.
type Metrics struct {
	latency *prometheus.HistogramVec
	fetched *prometheus.GaugeVec
	keySet  *prometheus.GaugeVec
}

// NewMetrics makes them.
func NewMetrics() *Metrics {
	return &Metrics{
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "apiserver_authentication_jwt_authenticator_latency_seconds",
			Help:    "Latency of jwt authentication operations in seconds. This is the time spent authenticating a token for cache miss only (i.e. when the token is not found in the cache).",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 15)}, []string{"jwt_issuer_hash", "result"}),
		fetched: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "apiserver_authentication_jwt_authenticator_jwks_fetch_last_timestamp_seconds",
			Help: "Timestamp of the last successful or failed JWKS fetch split by result, api server identity and jwt issuer."}, []string{"apiserver_id_hash", "jwt_issuer_hash", "result"}),
		keySet: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "apiserver_authentication_jwt_authenticator_jwks_fetch_last_key_set_info",
			Help: "Information about the last JWKS fetched by the JWT authenticator with hash as label, split by api server identity and jwt issuer."}, []string{"apiserver_id_hash", "hash", "jwt_issuer_hash"}),
	}
}

// Collectors are the metrics.
func (m *Metrics) Collectors() []prometheus.Collector {
	return []prometheus.Collector{m.latency, m.fetched, m.keySet}
}

func (m *Metrics) attempt(issuer string, start time.Time, err error) {
	result := "success"
	if err != nil {
		result = "failure"
	}
	m.latency.WithLabelValues(reloads.Digest(issuer), result).Observe(time.Since(start).Seconds())
}

// forget drops what is told of an issuer that is not used any more.
func (m *Metrics) forget(issuer string) {
	labels := prometheus.Labels{"jwt_issuer_hash": reloads.Digest(issuer)}
	m.fetched.DeletePartialMatch(labels)
	m.keySet.DeletePartialMatch(labels)
}

// watched tells of each fetch of an issuer's keys.
type watched struct {
	http.RoundTripper
	metrics *Metrics
	issuer  string
	keys    string // URL
}

// RoundTrip implements http.RoundTripper.
func (w *watched) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := w.RoundTripper.RoundTrip(r)
	if r.URL.String() != w.keys {
		return res, err
	}
	issuer, result := reloads.Digest(w.issuer), "success"
	if err != nil || res.StatusCode != http.StatusOK {
		result = "failure"
	}
	w.metrics.fetched.WithLabelValues(reloads.Identity(), issuer, result).SetToCurrentTime()
	if result == "failure" {
		return res, err
	}
	data, err := io.ReadAll(io.LimitReader(res.Body, maxDocument))
	res.Body.Close()
	if err != nil {
		return nil, err
	}
	res.Body = io.NopCloser(bytes.NewReader(data))
	w.metrics.keySet.DeletePartialMatch(prometheus.Labels{"jwt_issuer_hash": issuer})
	w.metrics.keySet.WithLabelValues(reloads.Identity(), reloads.Digest(string(data)), issuer).Set(1)
	return res, nil
}
