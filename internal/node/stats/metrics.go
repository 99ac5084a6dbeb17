package stats

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// scrapeTimeout bounds the questions to the runtime of one scrape.
const scrapeTimeout = 10 * time.Second

// collector makes metrics when it is scraped. Which ones there are depends on the pods, so none are described beforehand.
type collector func(ch chan<- prometheus.Metric)

func (c collector) Describe(chan<- *prometheus.Desc)    {}
func (c collector) Collect(ch chan<- prometheus.Metric) { c(ch) }

func registry(c collector) prometheus.Gatherer {
	r := prometheus.NewRegistry()
	r.MustRegister(c)
	return r
}

type metric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}

func define(name, help string, kind prometheus.ValueType, labels ...string) metric {
	return metric{prometheus.NewDesc(name, help, labels, nil), kind}
}

func (m metric) send(ch chan<- prometheus.Metric, v float64, at int64, labels ...string) {
	c, err := prometheus.NewConstMetric(m.desc, m.kind, v, labels...)
	if err != nil {
		return // a label that is not UTF-8
	}
	if at > 0 {
		c = prometheus.NewMetricWithTimestamp(time.Unix(0, at), c)
	}
	ch <- c
}

// Resource are the metrics of /metrics/resource, which autoscalers read.
func (s *Source) Resource() prometheus.Gatherer {
	const c, g = prometheus.CounterValue, prometheus.GaugeValue
	inContainer := []string{"container", "namespace", "pod"}
	nodeCPU := define("node_cpu_usage_seconds_total", "Cumulative cpu time consumed by the node in core-seconds", c)
	nodeMemory := define("node_memory_working_set_bytes", "Current working set of the node in bytes", g)
	podCPU := define("pod_cpu_usage_seconds_total", "Cumulative cpu time consumed by the pod in core-seconds", c, "namespace", "pod")
	podMemory := define("pod_memory_working_set_bytes", "Current working set of the pod in bytes", g, "namespace", "pod")
	cpu := define("container_cpu_usage_seconds_total", "Cumulative cpu time consumed by the container in core-seconds", c, inContainer...)
	memory := define("container_memory_working_set_bytes", "Current working set of the container in bytes", g, inContainer...)
	start := define("container_start_time_seconds", "Start time of the container since unix epoch in seconds", g, inContainer...)
	bad := define("resource_scrape_error", "1 if there was an error while getting container metrics, 0 otherwise", g)
	return registry(func(ch chan<- prometheus.Metric) {
		ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
		defer cancel()
		failed := 0.0
		if s.Cgroups == nil {
			failed = 1
		}
		if n, err := s.node(ctx, true); err == nil {
			nodeCPU.send(ch, float64(*n.CPU.UsageCoreNanoSeconds)/1e9, n.CPU.Time.UnixNano())
			nodeMemory.send(ch, float64(*n.Memory.WorkingSetBytes), n.Memory.Time.UnixNano())
		} else {
			failed = 1
		}
		for _, u := range s.collect(ctx, false) {
			p, ns := u.pod, u.all.Time.UnixNano()
			podCPU.send(ch, float64(u.all.CPUNanoseconds)/1e9, ns, p.Namespace, p.Name)
			podMemory.send(ch, float64(u.all.MemoryWorkingSet), ns, p.Namespace, p.Name)
			for _, c := range u.containers {
				ns := c.use.Time.UnixNano()
				cpu.send(ch, float64(c.use.CPUNanoseconds)/1e9, ns, c.c.Name, p.Namespace, p.Name)
				memory.send(ch, float64(c.use.MemoryWorkingSet), ns, c.c.Name, p.Namespace, p.Name)
				start.send(ch, float64(c.c.StartedAt)/1e9, 0, c.c.Name, p.Namespace, p.Name)
			}
		}
		bad.send(ch, failed, 0)
	})
}
