package stats

import (
	"context"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	rt "k8s.io/cri-api/pkg/apis/runtime/v1"

	"hyperkube/internal/node/cgroup"
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

// CAdvisor are the metrics of /metrics/cadvisor under the names that dashboards know, as far as the runtime tells them.
func (s *Source) CAdvisor() prometheus.Gatherer {
	const c, g = prometheus.CounterValue, prometheus.GaugeValue
	labels := []string{"container", "id", "image", "name", "namespace", "pod"}
	perNet := []string{"container", "id", "image", "interface", "name", "namespace", "pod"}
	cpu := define("container_cpu_usage_seconds_total", "Cumulative cpu time consumed in seconds.", c, with(labels, "cpu")...)
	usage := define("container_memory_usage_bytes", "Current memory usage in bytes, including all memory regardless of when it was accessed", g, labels...)
	working := define("container_memory_working_set_bytes", "Current working set in bytes.", g, labels...)
	rss := define("container_memory_rss", "Size of RSS in bytes.", g, labels...)
	faults := define("container_memory_failures_total", "Cumulative count of memory allocation failures.", c, with(labels, "failure_type", "scope")...)
	ooms := define("container_oom_events_total", "Count of out of memory events observed for the container", c, labels...)
	fs := define("container_fs_usage_bytes", "Number of bytes that are consumed by the container on this filesystem.", g, with(labels, "device")...)
	rx := define("container_network_receive_bytes_total", "Cumulative count of bytes received", c, perNet...)
	tx := define("container_network_transmit_bytes_total", "Cumulative count of bytes transmitted", c, perNet...)
	machineCPU := define("machine_cpu_cores", "Number of logical CPU cores.", g)
	machineMemory := define("machine_memory_bytes", "Amount of memory installed on the machine.", g)
	return registry(func(ch chan<- prometheus.Metric) {
		ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
		defer cancel()
		machineMemory.send(ch, float64(s.Memory), 0)
		machineCPU.send(ch, float64(runtime.NumCPU()), 0)
		for _, u := range s.collect(ctx, true) {
			one := func(container, id, image string, st *cgroup.Stats) []string {
				set := []string{container, id, image, id, u.pod.Namespace, u.pod.Name}
				ns := st.Time.UnixNano()
				cpu.send(ch, float64(st.CPUNanoseconds)/1e9, ns, with(set, "total")...)
				usage.send(ch, float64(st.MemoryUsage), ns, set...)
				working.send(ch, float64(st.MemoryWorkingSet), ns, set...)
				rss.send(ch, float64(st.MemoryRSS), ns, set...)
				faults.send(ch, float64(st.PageFaults), ns, with(set, "pgfault", "container")...)
				faults.send(ch, float64(st.MajorPageFaults), ns, with(set, "pgmajfault", "container")...)
				ooms.send(ch, float64(st.OOMKills), ns, set...)
				return set
			}
			one("", u.sandbox, "", u.all)
			for _, c := range u.containers {
				set := one(c.c.Name, c.c.Id, c.c.GetImage().GetImage(), c.use)
				if l := c.layer; l != nil {
					fs.send(ch, float64(l.GetUsedBytes().GetValue()), l.Timestamp, with(set, l.GetFsId().GetMountpoint())...)
				}
			}
			for _, i := range interfaces(u.network) {
				set := []string{"POD", u.sandbox, "", i.Name, u.sandbox, u.pod.Namespace, u.pod.Name}
				rx.send(ch, float64(i.GetRxBytes().GetValue()), u.network.Timestamp, set...)
				tx.send(ch, float64(i.GetTxBytes().GetValue()), u.network.Timestamp, set...)
			}
		}
	})
}

func with(set []string, more ...string) []string { return append(append([]string{}, set...), more...) }

func interfaces(n *rt.NetworkUsage) []*rt.NetworkInterfaceUsage {
	if n == nil {
		return nil
	}
	if n.DefaultInterface == nil {
		return n.Interfaces
	}
	return append([]*rt.NetworkInterfaceUsage{n.DefaultInterface}, n.Interfaces...)
}
