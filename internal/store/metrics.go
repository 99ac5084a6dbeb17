package store

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	requests    *prometheus.HistogramVec
	errors      *prometheus.CounterVec
	events      prometheus.Counter
	watchers    prometheus.Counter
	undecodable prometheus.Counter
	etcdLists   prometheus.Counter
	compactions prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "etcd_request_duration_seconds", Help: "Latency of transactions of etcd by operation.",
			Buckets: []float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10},
		}, []string{"operation"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "etcd_request_errors_total", Help: "Transactions of etcd that failed."}, []string{"operation"}),
		events: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "apiserver_watch_cache_events_received_total", Help: "Events received from etcd for cached kinds."}),
		watchers: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "apiserver_watch_cache_watches_started_total", Help: "Watches started on the caches."}),
		undecodable: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "apiserver_storage_decode_errors_total", Help: "Stored values that could not be decoded."}),
		etcdLists: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "apiserver_storage_list_from_etcd_total", Help: "Lists of old revisions that the caches could not serve."}),
		compactions: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "etcd_compactions_total", Help: "Compactions of history made by this process."}),
	}
	if r != nil {
		for _, c := range []prometheus.Collector{m.requests, m.errors, m.events, m.watchers, m.undecodable, m.etcdLists, m.compactions} {
			// A second store on one registry shares nothing: its metrics stay unregistered.
			_ = r.Register(c)
		}
	}
	return m
}

func (m *metrics) observe(op string, start time.Time, err error) {
	m.requests.WithLabelValues(op).Observe(time.Since(start).Seconds())
	if err != nil {
		m.errors.WithLabelValues(op).Inc()
	}
}
