// Package counts has the histograms that are counted on hot paths: a few atomics for an observation, no look-up of labels, no
// lock. What Prometheus wants of them is made when somebody scrapes.
package counts

import (
	"math"
	"sort"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// Histogram counts values by the bounds of their buckets. Make it with [New].
type Histogram struct {
	bounds  []float64
	buckets []atomic.Uint64
	count   atomic.Uint64
	sum     atomic.Uint64 // bits of a float
}

// New makes a histogram whose buckets hold what is up to each of bounds, which ascend.
func New(bounds []float64) *Histogram {
	return &Histogram{bounds: bounds, buckets: make([]atomic.Uint64, len(bounds))}
}

// Add counts v.
func (h *Histogram) Add(v float64) {
	h.count.Add(1)
	if i := sort.SearchFloat64s(h.bounds, v); i < len(h.buckets) {
		h.buckets[i].Add(1)
	}
	for {
		was := h.sum.Load()
		if h.sum.CompareAndSwap(was, math.Float64bits(math.Float64frombits(was)+v)) {
			return
		}
	}
}

// Count is how many values there were.
func (h *Histogram) Count() uint64 { return h.count.Load() }

// Metric gives the histogram to Prometheus.
func (h *Histogram) Metric(d *prometheus.Desc, labels ...string) prometheus.Metric {
	var t Total
	t.Add(h)
	return t.Metric(d, labels...)
}

// Total adds up histograms with the same bounds.
type Total struct {
	Count   uint64
	Sum     float64
	Buckets map[float64]uint64 // up to each bound
}

// Add adds what h has counted so far.
func (t *Total) Add(h *Histogram) {
	if t.Buckets == nil {
		t.Buckets = make(map[float64]uint64, len(h.bounds))
	}
	t.Count += h.count.Load()
	t.Sum += math.Float64frombits(h.sum.Load())
	below := uint64(0)
	for i, b := range h.bounds {
		below += h.buckets[i].Load()
		t.Buckets[b] += below
	}
}

// Metric gives the total to Prometheus. What was counted while the total was made may be in a bucket but not in the count, which is
// mended here: no bucket holds more than there is.
func (t *Total) Metric(d *prometheus.Desc, labels ...string) prometheus.Metric {
	n := t.Count
	for _, below := range t.Buckets {
		n = max(n, below)
	}
	return prometheus.MustNewConstHistogram(d, n, t.Sum, t.Buckets, labels...)
}
