package admission

import (
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hyperkube/internal/counts"
)

var (
	latencyBounds = []float64{0.005, 0.025, 0.1, 0.5, 1, 2.5} // seconds

	pluginDesc = prometheus.NewDesc("apiserver_admission_controller_admission_duration_seconds",
		"Admission controller latency histogram in seconds, identified by name and broken out for each operation and API resource and type (validate or admit).",
		[]string{"name", "operation", "rejected", "type"}, nil)
	stepDesc = prometheus.NewDesc("apiserver_admission_step_admission_duration_seconds",
		"Admission sub-step latency histogram in seconds, broken out for each operation and API resource and step type (validate or admit).",
		[]string{"operation", "rejected", "type"}, nil)
)

// operations, in the order of the slots of [timings].
var operations = []Operation{Create, Update, Delete, Connect}

// timings are how long a plugin, or all in a row, took: by operation, those that refused apart. Most stay nil.
type timings [4][2]atomic.Pointer[counts.Histogram]

func (t *timings) add(op Operation, err error, d time.Duration) {
	i, refused := slices.Index(operations, op), 0
	if i < 0 {
		return
	}
	if err != nil {
		refused = 1
	}
	slot := &t[i][refused]
	h := slot.Load()
	for h == nil {
		slot.CompareAndSwap(nil, counts.New(latencyBounds))
		h = slot.Load()
	}
	h.Add(d.Seconds())
}

func (t *timings) collect(ch chan<- prometheus.Metric, d *prometheus.Desc, step string, name ...string) {
	for i, op := range operations {
		for refused := range 2 {
			if h := t[i][refused].Load(); h != nil {
				ch <- h.Metric(d, append(slices.Clone(name), string(op), strconv.FormatBool(refused == 1), step)...)
			}
		}
	}
}

// stopwatch times one plugin after the other with one look at the clock for each.
type stopwatch struct{ began, last time.Time }

func startWatch() stopwatch {
	now := time.Now()
	return stopwatch{now, now}
}

func (w *stopwatch) lap(t *timings, a *Attributes, err error) {
	now := time.Now()
	t.add(a.Operation, err, now.Sub(w.last))
	w.last = now
}

func (w *stopwatch) stop(t *timings, a *Attributes, err error) {
	t.add(a.Operation, err, w.last.Sub(w.began))
}

// Describe implements prometheus.Collector. Names are upstream's.
func (c *Chain) Describe(ch chan<- *prometheus.Desc) {
	ch <- pluginDesc
	ch <- stepDesc
}

// Collect implements prometheus.Collector.
func (c *Chain) Collect(ch chan<- prometheus.Metric) {
	if c == nil {
		return
	}
	for i := range c.mutators {
		c.mutators[i].took.collect(ch, pluginDesc, "admit", c.mutators[i].Name())
	}
	for i := range c.validators {
		c.validators[i].took.collect(ch, pluginDesc, "validate", c.validators[i].Name())
	}
	c.mutating.collect(ch, stepDesc, "admit")
	c.validating.collect(ch, stepDesc, "validate")
}
