package fairness

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics have upstream's names.
type metrics struct {
	refused                                   *prometheus.CounterVec
	waited, executed, width, queued, watchers *prometheus.HistogramVec

	f        *Fairness
	levels   []levelMetric
	flows    []flowMetric
	timed    []timedMetric
	fraction *prometheus.Desc
	next     *prometheus.Desc
}

// timedMetric is one of the distributions over time of a level.
type timedMetric struct {
	desc   *prometheus.Desc
	of     func(*gauges) *timed
	labels []string // besides the level
}

// levelMetric is read from a level when somebody asks; the dispatcher is locked then.
type levelMetric struct {
	desc *prometheus.Desc
	read func(*level) float64
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

// lengths of queues are upstream's buckets.
var lengths = []float64{0, 10, 25, 50, 100, 250, 500, 1000}

func newMetrics(f *Fairness) *metrics {
	histogram := func(name, help string, buckets []float64, more ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: subsystem + name, Help: help, Buckets: buckets},
			append([]string{"priority_level", "flow_schema"}, more...))
	}
	perLevel := func(name, help string, read func(*level) float64) levelMetric {
		return levelMetric{prometheus.NewDesc(subsystem+name, help, []string{"priority_level"}, nil), read}
	}
	perFlow := func(kind prometheus.ValueType, name, help string, read func(*counts) int) flowMetric {
		return flowMetric{prometheus.NewDesc(subsystem+name, help, []string{"priority_level", "flow_schema"}, nil), kind, read}
	}
	over := func(name, help string, of func(*gauges) *timed, phase string) timedMetric {
		m := timedMetric{prometheus.NewDesc(subsystem+name, help, []string{"priority_level"}, nil), of, nil}
		if phase != "" {
			m.desc, m.labels = prometheus.NewDesc(subsystem+name, help, []string{"phase", "priority_level"}, nil), []string{phase}
		}
		return m
	}
	const requests = "Observations, at the end of every nanosecond, of number of requests (as a fraction of the relevant limit) waiting or in any stage of execution (but only initial stage for WATCHes)"
	return &metrics{
		f: f,
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{Name: subsystem + "rejected_requests_total",
			Help: "Number of requests rejected by API Priority and Fairness subsystem"}, []string{"priority_level", "flow_schema", "reason"}),
		waited:   histogram("request_wait_duration_seconds", "Length of time a request spent waiting in its queue", durations, "execute"),
		executed: histogram("request_execution_seconds", "Duration of initial stage (for a WATCH) or any (for a non-WATCH) stage of request execution in the API Priority and Fairness subsystem", durations, "type"),
		width:    histogram("work_estimated_seats", "Number of estimated seats (maximum of initial and final seats) associated with requests in API Priority and Fairness", []float64{1, 2, 4, 8, 16, 32, 64, 100}),
		queued:   histogram("request_queue_length_after_enqueue", "Length of queue in the API Priority and Fairness subsystem, as seen by each request after it is enqueued", lengths),
		watchers: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: subsystem + "watch_count_samples",
			Help: "count of watchers for mutating requests in API Priority and Fairness", Buckets: []float64{0, 1, 10, 100, 1000, 10000}}, []string{"priority_level", "flow_schema"}),
		fraction: prometheus.NewDesc(subsystem+"seat_fair_frac", "Fair fraction of server's concurrency to allocate to each priority level that can use it", nil, nil),
		next:     prometheus.NewDesc(subsystem+"next_s_bounds", "min and max, over queues, of S(oldest waiting request in queue)", []string{"bound", "priority_level"}, nil),
		levels: []levelMetric{
			perLevel("nominal_limit_seats", "Nominal number of execution seats configured for each priority level", func(l *level) float64 { return float64(l.nominal) }),
			perLevel("lower_limit_seats", "Configured lower bound on number of execution seats available to each priority level", func(l *level) float64 { return float64(l.reserved) }),
			perLevel("upper_limit_seats", "Configured upper bound on number of execution seats available to each priority level", func(l *level) float64 { return float64(l.most) }),
			perLevel("current_limit_seats", "current derived number of execution seats available to each priority level", func(l *level) float64 { return float64(l.current) }),
			perLevel("demand_seats_high_watermark", "High watermark, over last adjustment period, of demand_seats", func(l *level) float64 { return l.shares.most }),
			perLevel("demand_seats_average", "Time-weighted average, over last adjustment period, of demand_seats", func(l *level) float64 { return l.shares.average }),
			perLevel("demand_seats_stdev", "Time-weighted standard deviation, over last adjustment period, of demand_seats", func(l *level) float64 { return l.shares.deviation }),
			perLevel("demand_seats_smoothed", "Smoothed seat demands", func(l *level) float64 { return l.shares.smoothed }),
			perLevel("target_seats", "Seat allocation targets", func(l *level) float64 { return l.shares.target }),
			perLevel("current_r", "R(time of last change)", func(l *level) float64 { return l.virtual }),
			perLevel("dispatch_r", "R(time of last dispatch)", func(l *level) float64 { return l.lastDispatch }),
			perLevel("latest_s", "S(most recently dispatched request)", func(l *level) float64 { return l.lastStart }),
		},
		timed: []timedMetric{
			over("demand_seats", "Observations, at the end of every nanosecond, of (the number of seats each priority level could use) / (nominal number of seats for that level)", func(g *gauges) *timed { return &g.demand }, ""),
			over("priority_level_request_utilization", requests, func(g *gauges) *timed { return &g.executing }, "executing"),
			over("priority_level_request_utilization", requests, func(g *gauges) *timed { return &g.waiting }, "waiting"),
			over("priority_level_seat_utilization", "Observations, at the end of every nanosecond, of utilization of seats for any stage of execution (but only initial stage for WATCHes)", func(g *gauges) *timed { return &g.seats }, "executing"),
		},
		flows: []flowMetric{
			perFlow(prometheus.CounterValue, "dispatched_requests_total", "Number of requests executed by API Priority and Fairness subsystem", func(c *counts) int { return c.dispatched }),
			perFlow(prometheus.GaugeValue, "current_executing_requests", "Number of requests in initial (for a WATCH) or any (for a non-WATCH) execution stage in the API Priority and Fairness subsystem", func(c *counts) int { return c.running }),
			perFlow(prometheus.GaugeValue, "current_executing_seats", "Concurrency (number of seats) occupied by the currently executing (initial stage for a WATCH, any stage otherwise) requests in the API Priority and Fairness subsystem", func(c *counts) int { return c.seats }),
			perFlow(prometheus.GaugeValue, "current_inqueue_requests", "Number of requests currently pending in queues of the API Priority and Fairness subsystem", func(c *counts) int { return c.waiting }),
			perFlow(prometheus.GaugeValue, "current_inqueue_seats", "Number of seats currently pending in queues of the API Priority and Fairness subsystem", func(c *counts) int { return c.waitingSeats }),
			perFlow(prometheus.CounterValue, "request_dispatch_no_accommodation_total", "Number of times a dispatch attempt resulted in a non accommodation due to lack of available seats", func(c *counts) int { return c.unaccommodated }),
		},
	}
}

// Collectors are the metrics, to be registered.
func (f *Fairness) Collectors() []prometheus.Collector {
	m := f.metrics
	return []prometheus.Collector{m.refused, m.waited, m.executed, m.width, m.queued, m.watchers, m}
}

// Describe and Collect make the state of the levels metrics.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.fraction
	ch <- m.next
	for _, l := range m.levels {
		ch <- l.desc
	}
	for _, f := range m.flows {
		ch <- f.desc
	}
	for _, t := range m.timed {
		ch <- t.desc
	}
}

func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	d := &m.f.dispatch
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	d.adjust(now)
	ch <- prometheus.MustNewConstMetric(m.fraction, prometheus.GaugeValue, d.fraction)
	for _, l := range d.order {
		for _, of := range m.levels {
			ch <- prometheus.MustNewConstMetric(of.desc, prometheus.GaugeValue, of.read(l), l.name)
		}
		for _, of := range m.timed {
			ch <- of.of(&l.gauges).metric(now, of.desc, append(slices.Clone(of.labels), l.name)...)
		}
		if low, high, ok := l.nextStarts(); ok {
			ch <- prometheus.MustNewConstMetric(m.next, prometheus.GaugeValue, low, "min", l.name)
			ch <- prometheus.MustNewConstMetric(m.next, prometheus.GaugeValue, high, "max", l.name)
		}
		for schema, c := range l.schemas {
			for _, of := range m.flows {
				ch <- prometheus.MustNewConstMetric(of.desc, of.kind, float64(of.read(c)), l.name, schema)
			}
		}
	}
}

// nextStarts are the least and the greatest virtual time at which the first request of a queue would start.
func (l *level) nextStarts() (low, high float64, ok bool) {
	for i := range l.queues {
		q := &l.queues[i]
		if len(q.waiting) == 0 {
			continue
		}
		if !ok {
			low, high, ok = q.start, q.start, true
		}
		low, high = min(low, q.start), max(high, q.start)
	}
	return low, high, ok
}
