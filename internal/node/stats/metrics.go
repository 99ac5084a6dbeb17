package stats

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	rt "k8s.io/cri-api/pkg/apis/runtime/v1"
	kubetypes "k8s.io/kubelet/pkg/types"
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
		if n, err := s.node(ctx, true); err == nil {
			nodeCPU.send(ch, float64(*n.CPU.UsageCoreNanoSeconds)/1e9, n.CPU.Time.UnixNano())
			nodeMemory.send(ch, float64(*n.Memory.WorkingSetBytes), n.Memory.Time.UnixNano())
		} else {
			failed = 1
		}
		resp, err := s.CRI.Runtime.ListPodSandboxStats(ctx, &rt.ListPodSandboxStatsRequest{})
		if err != nil {
			failed = 1
		}
		starts := s.startTimes(ctx)
		for _, p := range resp.GetStats() {
			m, l := p.GetAttributes().GetMetadata(), p.GetLinux()
			if u := l.GetCpu(); u != nil {
				podCPU.send(ch, float64(u.GetUsageCoreNanoSeconds().GetValue())/1e9, u.Timestamp, m.Namespace, m.Name)
			}
			if u := l.GetMemory(); u != nil {
				podMemory.send(ch, float64(u.GetWorkingSetBytes().GetValue()), u.Timestamp, m.Namespace, m.Name)
			}
			for _, k := range l.GetContainers() {
				name := k.GetAttributes().GetMetadata().GetName()
				if u := k.GetCpu(); u != nil {
					cpu.send(ch, float64(u.GetUsageCoreNanoSeconds().GetValue())/1e9, u.Timestamp, name, m.Namespace, m.Name)
				}
				if u := k.GetMemory(); u != nil {
					memory.send(ch, float64(u.GetWorkingSetBytes().GetValue()), u.Timestamp, name, m.Namespace, m.Name)
				}
				if at := starts[k.GetAttributes().GetId()]; at > 0 {
					start.send(ch, float64(at)/1e9, 0, name, m.Namespace, m.Name)
				}
			}
		}
		bad.send(ch, failed, 0)
	})
}

// startTimes of running containers in ns, by container ID.
func (s *Source) startTimes(ctx context.Context) map[string]int64 {
	out := map[string]int64{}
	pods, err := s.CRI.Pods(ctx)
	if err != nil {
		return out
	}
	for _, p := range pods {
		for _, c := range p.Running() {
			out[c.Id] = c.StartedAt
		}
	}
	return out
}

// CAdvisor are the metrics of /metrics/cadvisor under the names that dashboards know, as far as the runtime tells them.
func (s *Source) CAdvisor() prometheus.Gatherer {
	const c, g = prometheus.CounterValue, prometheus.GaugeValue
	labels := []string{"container", "id", "image", "name", "namespace", "pod"}
	perNet := []string{"container", "id", "image", "interface", "name", "namespace", "pod"}
	cpu := define("container_cpu_usage_seconds_total", "Cumulative cpu time consumed in seconds.", c, append(labels, "cpu")...)
	usage := define("container_memory_usage_bytes", "Current memory usage in bytes, including all memory regardless of when it was accessed", g, labels...)
	working := define("container_memory_working_set_bytes", "Current working set in bytes.", g, labels...)
	rss := define("container_memory_rss", "Size of RSS in bytes.", g, labels...)
	faults := define("container_memory_failures_total", "Cumulative count of memory allocation failures.", c, append(labels, "failure_type", "scope")...)
	fs := define("container_fs_usage_bytes", "Number of bytes that are consumed by the container on this filesystem.", g, append(labels, "device")...)
	rx := define("container_network_receive_bytes_total", "Cumulative count of bytes received", c, perNet...)
	tx := define("container_network_transmit_bytes_total", "Cumulative count of bytes transmitted", c, perNet...)
	machineCPU := define("machine_cpu_cores", "Number of logical CPU cores.", g)
	machineMemory := define("machine_memory_bytes", "Amount of memory installed on the machine.", g)
	return registry(func(ch chan<- prometheus.Metric) {
		ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
		defer cancel()
		machineMemory.send(ch, float64(s.Memory), 0)
		machineCPU.send(ch, float64(cores()), 0)
		resp, err := s.CRI.Runtime.ListPodSandboxStats(ctx, &rt.ListPodSandboxStatsRequest{})
		if err != nil {
			return
		}
		for _, p := range resp.Stats {
			a, l := p.GetAttributes(), p.GetLinux()
			m := a.GetMetadata()
			one := func(container, id, image string, u *rt.CpuUsage, v *rt.MemoryUsage, w *rt.FilesystemUsage) {
				set := []string{container, id, image, id, m.GetNamespace(), m.GetName()}
				if u != nil {
					cpu.send(ch, float64(u.GetUsageCoreNanoSeconds().GetValue())/1e9, u.Timestamp, append(set, "total")...)
				}
				if v != nil {
					usage.send(ch, float64(v.GetUsageBytes().GetValue()), v.Timestamp, set...)
					working.send(ch, float64(v.GetWorkingSetBytes().GetValue()), v.Timestamp, set...)
					rss.send(ch, float64(v.GetRssBytes().GetValue()), v.Timestamp, set...)
					faults.send(ch, float64(v.GetPageFaults().GetValue()), v.Timestamp, append(set, "pgfault", "container")...)
					faults.send(ch, float64(v.GetMajorPageFaults().GetValue()), v.Timestamp, append(set, "pgmajfault", "container")...)
				}
				if w != nil {
					fs.send(ch, float64(w.GetUsedBytes().GetValue()), w.Timestamp, append(set, w.GetFsId().GetMountpoint())...)
				}
			}
			one("", a.GetId(), "", l.GetCpu(), l.GetMemory(), nil)
			for _, k := range l.GetContainers() {
				ka := k.GetAttributes()
				one(ka.GetLabels()[kubetypes.KubernetesContainerNameLabel], ka.GetId(), "", k.GetCpu(), k.GetMemory(), k.GetWritableLayer())
			}
			for _, i := range append(l.GetNetwork().GetInterfaces(), l.GetNetwork().GetDefaultInterface()) {
				if i == nil {
					continue
				}
				set := []string{"POD", a.GetId(), "", i.Name, a.GetId(), m.GetNamespace(), m.GetName()}
				rx.send(ch, float64(i.GetRxBytes().GetValue()), l.GetNetwork().GetTimestamp(), set...)
				tx.send(ch, float64(i.GetTxBytes().GetValue()), l.GetNetwork().GetTimestamp(), set...)
			}
		}
	})
}
