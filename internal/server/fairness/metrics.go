package fairness

import "github.com/prometheus/client_golang/prometheus"

// metrics have upstream's names.
type metrics struct {
	refused *prometheus.CounterVec
	waited  *prometheus.HistogramVec

	f                                      *Fairness
	nominal, seats, running, queued, limit *prometheus.Desc
}

func newMetrics(f *Fairness) *metrics {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("apiserver_flowcontrol_"+name, help, []string{"priority_level"}, nil)
	}
	return &metrics{
		f: f,
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "apiserver_flowcontrol_rejected_requests_total",
			Help: "Number of requests rejected by API Priority and Fairness subsystem"}, []string{"priority_level", "flow_schema", "reason"}),
		waited: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "apiserver_flowcontrol_request_wait_duration_seconds",
			Help:    "Length of time a request spent waiting in its queue",
			Buckets: []float64{0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30}}, []string{"priority_level", "flow_schema", "execute"}),
		nominal: desc("nominal_limit_seats", "Nominal number of execution seats configured for each priority level"),
		limit:   desc("upper_limit_seats", "Configured upper bound on number of execution seats available to each priority level"),
		seats:   desc("current_executing_seats", "Concurrency (number of seats) occupied by the currently executing (initial stage for a WATCH, any stage otherwise) requests in the API Priority and Fairness subsystem"),
		running: desc("current_executing_requests", "Number of requests in initial (for a WATCH) or any (for a non-WATCH) execution stage in the API Priority and Fairness subsystem"),
		queued:  desc("current_inqueue_requests", "Number of requests currently pending in queues of the API Priority and Fairness subsystem"),
	}
}

// Collectors are the metrics, to be registered.
func (f *Fairness) Collectors() []prometheus.Collector {
	return []prometheus.Collector{f.metrics.refused, f.metrics.waited, f.metrics}
}

// Describe and Collect make the state of the levels metrics.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.nominal, m.limit, m.seats, m.running, m.queued} {
		ch <- d
	}
}

func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	d := &m.f.dispatch
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range d.order {
		for desc, v := range map[*prometheus.Desc]int{m.nominal: l.nominal, m.limit: l.most, m.seats: l.used, m.running: l.running, m.queued: l.waiting} {
			ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(v), l.name)
		}
	}
}
