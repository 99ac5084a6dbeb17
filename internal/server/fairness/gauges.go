package fairness

import (
	"sort"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// timed is a histogram over time of a value: how many nanoseconds it was within each bucket.
type timed struct {
	bounds []float64
	spent  []uint64 // nanoseconds, of each bucket and of what is above all
	sum    float64
	at     time.Time
	value  float64
	bucket int // of the value
}

func newTimed(now time.Time, bounds []float64) timed {
	return timed{bounds: bounds, spent: make([]uint64, len(bounds)+1), at: now}
}

func (h *timed) set(now time.Time, value float64) {
	h.pass(now)
	if value != h.value {
		h.value, h.bucket = value, sort.SearchFloat64s(h.bounds, value)
	}
}

func (h *timed) pass(now time.Time) {
	if t := now.Sub(h.at); t > 0 {
		h.spent[h.bucket] += uint64(t)
		h.sum += float64(t) * h.value
		h.at = now
	}
}

// metric is what is known until now.
func (h *timed) metric(now time.Time, d *prometheus.Desc, labels ...string) prometheus.Metric {
	h.pass(now)
	buckets, total := make(map[float64]uint64, len(h.bounds)), uint64(0)
	for i, b := range h.bounds {
		total += h.spent[i]
		buckets[b] = total
	}
	return prometheus.MustNewConstHistogram(d, total+h.spent[len(h.bounds)], h.sum, buckets, labels...)
}

// Buckets are upstream's.
var (
	demandBounds  = []float64{0.2, 0.4, 0.6, 0.8, 1, 1.2, 1.4, 1.7, 2, 2.8, 4, 6}
	requestBounds = []float64{0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.25, 0.5, 0.75, 1}
	seatBounds    = []float64{0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1}
)

// gauges follow how much of what it has a level uses.
type gauges struct{ demand, waiting, executing, seats timed }

func newGauges(now time.Time) gauges {
	return gauges{newTimed(now, demandBounds), newTimed(now, requestBounds), newTimed(now, requestBounds), newTimed(now, seatBounds)}
}

func (g *gauges) set(now time.Time, l *level) {
	own := float64(max(l.nominal, 1))
	g.demand.set(now, float64(l.used+l.waitingSeats)/own)
	g.waiting.set(now, float64(l.waiting)/float64(max(l.length*len(l.queues), 1)))
	g.executing.set(now, float64(l.running)/own)
	g.seats.set(now, float64(l.used)/own)
}
