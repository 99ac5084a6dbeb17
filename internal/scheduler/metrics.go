package scheduler

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics have upstream's names.
type metrics struct {
	registry    prometheus.Registerer
	attempts    *prometheus.CounterVec
	duration    *prometheus.HistogramVec
	algorithm   prometheus.Histogram
	tries       prometheus.Histogram
	sli         *prometheus.HistogramVec
	incoming    *prometheus.CounterVec
	preemptions prometheus.Counter
	victims     prometheus.Histogram
}

func newMetrics(r prometheus.Registerer) *metrics {
	short := prometheus.ExponentialBuckets(0.00001, 2, 20)
	m := &metrics{
		registry: r,
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "scheduler_schedule_attempts_total",
			Help: "Attempts to schedule pods, by result."}, []string{"result", "profile"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "scheduler_scheduling_attempt_duration_seconds",
			Help: "Time of an attempt, binding included.", Buckets: prometheus.ExponentialBuckets(0.0001, 2, 17)}, []string{"result", "profile"}),
		algorithm: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "scheduler_scheduling_algorithm_duration_seconds",
			Help: "Time of a decision.", Buckets: short}),
		tries: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "scheduler_pod_scheduling_attempts",
			Help: "Attempts until a pod was scheduled.", Buckets: prometheus.ExponentialBuckets(1, 2, 5)}),
		sli: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "scheduler_pod_scheduling_sli_duration_seconds",
			Help: "Time from a pod's arrival in the queue to its binding.", Buckets: prometheus.ExponentialBuckets(0.01, 2, 20)}, []string{"attempts"}),
		incoming: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "scheduler_queue_incoming_pods_total",
			Help: "Pods that entered a part of the queue, by event."}, []string{"queue", "event"}),
		preemptions: prometheus.NewCounter(prometheus.CounterOpts{Name: "scheduler_preemption_attempts_total",
			Help: "Preemptions in the cluster."}),
		victims: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "scheduler_preemption_victims",
			Help: "Victims of a preemption.", Buckets: prometheus.ExponentialBuckets(1, 2, 7)}),
	}
	m.register(m.attempts, m.duration, m.algorithm, m.tries, m.sli, m.incoming, m.preemptions, m.victims)
	return m
}

func (m *metrics) register(cs ...prometheus.Collector) {
	if m.registry == nil {
		return
	}
	for _, c := range cs {
		// Of two schedulers on one registry the first is counted.
		_ = m.registry.Register(c)
	}
}

// watch adds the metrics that are read off the scheduler when they are asked for.
func (m *metrics) watch(s *Scheduler) {
	gauge := func(name, help, label, value string, read func() int) {
		m.register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: prometheus.Labels{label: value}},
			func() float64 {
				s.mu.Lock()
				defer s.mu.Unlock()
				return float64(read())
			}))
	}
	const pending, size = "scheduler_pending_pods", "scheduler_scheduler_cache_size"
	gauge(pending, "Pods without a node.", "queue", "active", func() int { return s.queue.active.Len() })
	gauge(pending, "Pods without a node.", "queue", "backoff", func() int { return s.queue.backoff.Len() })
	gauge(pending, "Pods without a node.", "queue", "unschedulable", func() int { return len(s.queue.waiting) })
	gauge(pending, "Pods without a node.", "queue", "gated", func() int { return s.queue.gated })
	gauge(size, "Objects in the scheduler's cache.", "type", "nodes", func() int { return s.state.NodeCount() })
	gauge(size, "Objects in the scheduler's cache.", "type", "pods", func() int { return s.state.PodCount() })
	gauge(size, "Objects in the scheduler's cache.", "type", "assumed_pods", func() int { return len(s.assumed) })
}

func (m *metrics) attempt(result, profile string, start time.Time) {
	m.attempts.WithLabelValues(result, profile).Inc()
	m.duration.WithLabelValues(result, profile).Observe(time.Since(start).Seconds())
}

func (m *metrics) bound(it *item, start time.Time) {
	m.attempt("scheduled", it.profile.Name, start)
	m.tries.Observe(float64(it.attempts))
	m.sli.WithLabelValues(strconv.Itoa(min(it.attempts, 16))).Observe(time.Since(it.first).Seconds())
}
