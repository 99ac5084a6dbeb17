package client

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/rest"

	"hyperkube/internal/counts"
)

// RequestStats shows the requests of one role to its API server in metrics, under upstream's names. The zero value counts nothing yet.
type RequestStats struct {
	codes sync.Map // requestKey → *counts.Histogram of durations
	sizes sync.Map // sizeKey → *counts.Histogram
}

type (
	requestKey struct {
		host, method string
		code         int // 0: there was no answer
	}
	sizeKey struct {
		host, method string
		answers      bool
	}
)

var (
	requestBounds = []float64{0.005, 0.025, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60}
	bytesBounds   = []float64{64, 256, 512, 1 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 20, 1 << 22, 1 << 24}

	restTotalDesc    = prometheus.NewDesc("rest_client_requests_total", "Number of HTTP requests, partitioned by status code, method, and host.", []string{"code", "host", "method"}, nil)
	restDurationDesc = prometheus.NewDesc("rest_client_request_duration_seconds", "Request latency in seconds. Broken down by verb, and host.", []string{"host", "verb"}, nil)
	restRequestDesc  = prometheus.NewDesc("rest_client_request_size_bytes", "Request size in bytes. Broken down by verb and host.", []string{"host", "verb"}, nil)
	restResponseDesc = prometheus.NewDesc("rest_client_response_size_bytes", "Response size in bytes. Broken down by verb and host.", []string{"host", "verb"}, nil)
)

// Count has the requests of clients that are made of cfg counted.
func (s *RequestStats) Count(cfg *rest.Config) {
	cfg.Wrap(func(base http.RoundTripper) http.RoundTripper { return &counted{base, s} })
}

// counted is a way to a server whose requests are counted.
type counted struct {
	base  http.RoundTripper
	stats *RequestStats
}

func (c *counted) RoundTrip(r *http.Request) (*http.Response, error) {
	start := time.Now()
	res, err := c.base.RoundTrip(r)
	k := requestKey{host: r.URL.Host, method: r.Method}
	if err == nil {
		k.code = res.StatusCode
	}
	tally(&c.stats.codes, k, requestBounds, time.Since(start).Seconds())
	if r.ContentLength >= 0 {
		tally(&c.stats.sizes, sizeKey{k.host, k.method, false}, bytesBounds, float64(r.ContentLength))
	}
	if err == nil && res.ContentLength >= 0 { // that of a stream is not known
		tally(&c.stats.sizes, sizeKey{k.host, k.method, true}, bytesBounds, float64(res.ContentLength))
	}
	return res, err
}

// WrappedRoundTripper lets client-go find what is below.
func (c *counted) WrappedRoundTripper() http.RoundTripper { return c.base }

func tally(m *sync.Map, key any, bounds []float64, v float64) {
	h, ok := m.Load(key)
	if !ok {
		h, _ = m.LoadOrStore(key, counts.New(bounds))
	}
	h.(*counts.Histogram).Add(v)
}

// Describe implements prometheus.Collector.
func (s *RequestStats) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{restTotalDesc, restDurationDesc, restRequestDesc, restResponseDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (s *RequestStats) Collect(ch chan<- prometheus.Metric) {
	durations := map[[2]string]*counts.Total{}
	s.codes.Range(func(key, value any) bool {
		k, h := key.(requestKey), value.(*counts.Histogram)
		code := "<error>"
		if k.code != 0 {
			code = strconv.Itoa(k.code)
		}
		ch <- prometheus.MustNewConstMetric(restTotalDesc, prometheus.CounterValue, float64(h.Count()), code, k.host, k.method)
		of := [2]string{k.host, k.method}
		if durations[of] == nil {
			durations[of] = &counts.Total{}
		}
		durations[of].Add(h)
		return true
	})
	for of, t := range durations {
		ch <- t.Metric(restDurationDesc, of[0], of[1])
	}
	s.sizes.Range(func(key, h any) bool {
		k, d := key.(sizeKey), restRequestDesc
		if k.answers {
			d = restResponseDesc
		}
		ch <- h.(*counts.Histogram).Metric(d, k.host, k.method)
		return true
	})
}
