package proxy

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics have upstream's names.
type metrics struct {
	sync, fullSync, partialSync, programming prometheus.Histogram
	lastSync, lastQueued                     prometheus.Gauge
	failures                                 prometheus.Counter
	serviceChanges, endpointChanges          prometheus.Counter
}

func newMetrics(r *prometheus.Registry) *metrics {
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "kubeproxy", Name: name, Help: help, Buckets: buckets})
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "kubeproxy", Name: name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "kubeproxy", Name: name, Help: help})
	}
	buckets := prometheus.ExponentialBuckets(0.001, 2, 15)
	m := &metrics{
		sync:            histogram("sync_proxy_rules_duration_seconds", "SyncProxyRules latency in seconds", buckets),
		fullSync:        histogram("sync_full_proxy_rules_duration_seconds", "SyncProxyRules latency in seconds for full resyncs", buckets),
		partialSync:     histogram("sync_partial_proxy_rules_duration_seconds", "SyncProxyRules latency in seconds for partial resyncs", buckets),
		programming:     histogram("network_programming_duration_seconds", "In Cluster Network Programming Latency in seconds", prometheus.ExponentialBuckets(0.005, 2, 18)),
		lastSync:        gauge("sync_proxy_rules_last_timestamp_seconds", "The last time proxy rules were successfully synced"),
		lastQueued:      gauge("sync_proxy_rules_last_queued_timestamp_seconds", "The last time a sync of proxy rules was queued"),
		failures:        counter("sync_proxy_rules_iptables_restore_failures_total", "Cumulative proxy iptables restore failures"),
		serviceChanges:  counter("sync_proxy_rules_service_changes_total", "Cumulative proxy rules Service changes"),
		endpointChanges: counter("sync_proxy_rules_endpoint_changes_total", "Cumulative proxy rules Endpoint changes"),
	}
	r.MustRegister(m.sync, m.fullSync, m.partialSync, m.programming, m.lastSync, m.lastQueued, m.failures, m.serviceChanges, m.endpointChanges)
	return m
}

func (m *metrics) synced(began time.Time, full bool, err error, triggers []time.Time) {
	now := time.Now()
	took := now.Sub(began).Seconds()
	m.lastQueued.Set(float64(began.UnixMilli()) / 1000)
	m.sync.Observe(took)
	if full {
		m.fullSync.Observe(took)
	} else {
		m.partialSync.Observe(took)
	}
	if err != nil {
		m.failures.Inc()
		return
	}
	m.lastSync.Set(float64(now.UnixMilli()) / 1000)
	for _, t := range triggers {
		m.programming.Observe(now.Sub(t).Seconds())
	}
}
