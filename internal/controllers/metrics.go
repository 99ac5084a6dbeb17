package controllers

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// Counter makes a counter that /metrics shows. A controller that is made anew, after the lead was lost and won again, goes on with the
// one that is there.
func (d Deps) Counter(name, help string, labels ...string) *prometheus.CounterVec {
	return shown(d.Metrics, prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels))
}

// Histogram is the same for a distribution of seconds.
func (d Deps) Histogram(name, help string, buckets []float64) prometheus.Histogram {
	return shown(d.Metrics, prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}))
}

// Histograms is the same with labels.
func (d Deps) Histograms(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return shown(d.Metrics, prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels))
}

func shown[T prometheus.Collector](reg prometheus.Registerer, c T) T {
	if reg == nil {
		return c
	}
	var there prometheus.AlreadyRegisteredError
	if err := reg.Register(c); errors.As(err, &there) {
		if old, ok := there.ExistingCollector.(T); ok {
			return old
		}
	}
	return c
}
