package cri

import (
	"context"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
)

// measures of calls, under upstream's names.
type measures struct {
	calls, errors *prometheus.CounterVec
	took          *prometheus.HistogramVec
}

func newMeasures() *measures {
	by := []string{"operation_type"}
	return &measures{
		calls:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "kubelet_runtime_operations_total", Help: "Cumulative number of runtime operations by operation type."}, by),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "kubelet_runtime_operations_errors_total", Help: "Cumulative number of runtime operation errors by operation type."}, by),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "kubelet_runtime_operations_duration_seconds",
			Help: "Duration in seconds of runtime operations. Broken down by operation type.", Buckets: prometheus.ExponentialBuckets(.005, 2.5, 14)}, by),
	}
}

// Metrics of the calls of a client that Dial made.
func (c *Client) Metrics() []prometheus.Collector {
	return []prometheus.Collector{c.measures.calls, c.measures.errors, c.measures.took}
}

// count measures one call.
func (m *measures) count(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, call grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	name := operation(method)
	began := time.Now()
	err := call(ctx, method, req, reply, cc, opts...)
	m.calls.WithLabelValues(name).Inc()
	m.took.WithLabelValues(name).Observe(time.Since(began).Seconds())
	if err != nil {
		m.errors.WithLabelValues(name).Inc()
	}
	return err
}

// operation is a method in words joined by underscores: /runtime.v1.RuntimeService/RunPodSandbox is run_podsandbox.
func operation(method string) string {
	name := method[strings.LastIndexByte(method, '/')+1:]
	name = strings.NewReplacer("PodSandbox", "Podsandbox").Replace(name)
	var b strings.Builder
	for i, r := range name {
		if r >= 'A' && r <= 'Z' {
			if i > 0 {
				b.WriteByte('_')
			}
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}
