package fairness

import "github.com/prometheus/client_golang/prometheus"

// metrics have upstream's names.
type metrics struct {
	refused                 *prometheus.CounterVec
	waited, executed, width *prometheus.HistogramVec

	f      *Fairness
	levels []levelMetric
	flows  []flowMetric
}

// levelMetric is read from a level when somebody asks; the dispatcher is locked then.
type levelMetric struct {
	desc *prometheus.Desc
	read func(*dispatcher, *level) int
}

// flowMetric is read from the counts of a FlowSchema in a level.
type flowMetric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func(*counts) int
}

const subsystem = "apiserver_flowcontrol_"

// durations are upstream's buckets (seconds).
var durations = []float64{0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30}

func newMetrics(f *Fairness) *metrics {
	histogram := func(name, help string, buckets []float64, more ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: subsystem + name, Help: help, Buckets: buckets},
			append([]string{"priority_level", "flow_schema"}, more...))
	}
	perLevel := func(name, help string, read func(*dispatcher, *level) int) levelMetric {
		return levelMetric{prometheus.NewDesc(subsystem+name, help, []string{"priority_level"}, nil), read}
	}
	perFlow := func(kind prometheus.ValueType, name, help string, read func(*counts) int) flowMetric {
		return flowMetric{prometheus.NewDesc(subsystem+name, help, []string{"priority_level", "flow_schema"}, nil), kind, read}
	}
	return &metrics{
		f: f,
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{Name: subsystem + "rejected_requests_total",
			Help: "Number of requests rejected by API Priority and Fairness subsystem"}, []string{"priority_level", "flow_schema", "reason"}),
		waited:   histogram("request_wait_duration_seconds", "Length of time a request spent waiting in its queue", durations, "execute"),
		executed: histogram("request_execution_seconds", "Duration of initial stage (for a WATCH) or any (for a non-WATCH) stage of request execution in the API Priority and Fairness subsystem", durations, "type"),
		width:    histogram("work_estimated_seats", "Number of estimated seats (maximum of initial and final seats) associated with requests in API Priority and Fairness", []float64{1, 2, 4, 10}),
		levels: []levelMetric{
			perLevel("nominal_limit_seats", "Nominal number of execution seats configured for each priority level", func(_ *dispatcher, l *level) int { return l.nominal }),
			perLevel("lower_limit_seats", "Configured lower bound on number of execution seats available to each priority level", func(_ *dispatcher, l *level) int { return l.reserved }),
			perLevel("upper_limit_seats", "Configured upper bound on number of execution seats available to each priority level", func(_ *dispatcher, l *level) int { return l.most }),
			perLevel("current_limit_seats", "current derived number of execution seats available to each priority level", (*dispatcher).limitNow),
		},
		flows: []flowMetric{
			perFlow(prometheus.CounterValue, "dispatched_requests_total", "Number of requests executed by API Priority and Fairness subsystem", func(c *counts) int { return c.dispatched }),
			perFlow(prometheus.GaugeValue, "current_executing_requests", "Number of requests in initial (for a WATCH) or any (for a non-WATCH) execution stage in the API Priority and Fairness subsystem", func(c *counts) int { return c.running }),
			perFlow(prometheus.GaugeValue, "current_executing_seats", "Concurrency (number of seats) occupied by the currently executing (initial stage for a WATCH, any stage otherwise) requests in the API Priority and Fairness subsystem", func(c *counts) int { return c.seats }),
			perFlow(prometheus.GaugeValue, "current_inqueue_requests", "Number of requests currently pending in queues of the API Priority and Fairness subsystem", func(c *counts) int { return c.waiting }),
			perFlow(prometheus.GaugeValue, "current_inqueue_seats", "Number of seats currently pending in queues of the API Priority and Fairness subsystem", func(c *counts) int { return c.waitingSeats }),
		},
	}
}

// limitNow is how many seats a level could use now: what others use or keep is not there for it. mu is held.
func (d *dispatcher) limitNow(l *level) int {
	left := d.total
	for _, other := range d.order {
		if other != l {
			left -= max(other.used, other.reserved)
		}
	}
	return min(l.most, max(left, l.reserved))
}

// Collectors are the metrics, to be registered.
func (f *Fairness) Collectors() []prometheus.Collector {
	return []prometheus.Collector{f.metrics.refused, f.metrics.waited, f.metrics.executed, f.metrics.width, f.metrics}
}

// Describe and Collect make the state of the levels metrics.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, l := range m.levels {
		ch <- l.desc
	}
	for _, f := range m.flows {
		ch <- f.desc
	}
}

func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	d := &m.f.dispatch
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range d.order {
		for _, of := range m.levels {
			ch <- prometheus.MustNewConstMetric(of.desc, prometheus.GaugeValue, float64(of.read(d, l)), l.name)
		}
		for schema, c := range l.schemas {
			for _, of := range m.flows {
				ch <- prometheus.MustNewConstMetric(of.desc, of.kind, float64(of.read(c)), l.name, schema)
			}
		}
	}
}
