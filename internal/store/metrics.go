package store

import "github.com/prometheus/client_golang/prometheus"

// metrics are those that are not split by kind; see [kindMetrics].
type metrics struct {
	watchers    prometheus.Counter
	undecodable prometheus.Counter
	etcdLists   prometheus.Counter
	compactions prometheus.Counter
}

func (s *Store) newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
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
		for _, c := range []prometheus.Collector{s, m.watchers, m.undecodable, m.etcdLists, m.compactions} {
			// A second store on one registry shares nothing: its metrics stay unregistered.
			_ = r.Register(c)
		}
	}
	return m
}
