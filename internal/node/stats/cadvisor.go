package stats

import (
	"context"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	rt "k8s.io/cri-api/pkg/apis/runtime/v1"

	"hyperkube/internal/node/cgroup"
)

// perCgroup are the metrics that a pod and each of its containers have.
type perCgroup struct {
	cpu, periods, throttledPeriods, throttled                         metric
	usage, working, rss, cache, swap, peak, limit                     metric
	faults, ooms, processes, lastSeen, started, shares, quota, period metric
}

func definePerCgroup(labels []string) perCgroup {
	const c, g = prometheus.CounterValue, prometheus.GaugeValue
	return perCgroup{
		cpu:              define("container_cpu_usage_seconds_total", "Cumulative cpu time consumed in seconds.", c, with(labels, "cpu")...),
		periods:          define("container_cpu_cfs_periods_total", "Number of elapsed enforcement period intervals.", c, labels...),
		throttledPeriods: define("container_cpu_cfs_throttled_periods_total", "Number of throttled period intervals.", c, labels...),
		throttled:        define("container_cpu_cfs_throttled_seconds_total", "Total time duration the container has been throttled.", c, labels...),
		usage:            define("container_memory_usage_bytes", "Current memory usage in bytes, including all memory regardless of when it was accessed", g, labels...),
		working:          define("container_memory_working_set_bytes", "Current working set in bytes.", g, labels...),
		rss:              define("container_memory_rss", "Size of RSS in bytes.", g, labels...),
		cache:            define("container_memory_cache", "Number of bytes of page cache memory.", g, labels...),
		swap:             define("container_memory_swap", "Container swap usage in bytes.", g, labels...),
		peak:             define("container_memory_max_usage_bytes", "Maximum memory usage recorded in bytes", g, labels...),
		limit:            define("container_spec_memory_limit_bytes", "Memory limit for the container.", g, labels...),
		faults:           define("container_memory_failures_total", "Cumulative count of memory allocation failures.", c, with(labels, "failure_type", "scope")...),
		ooms:             define("container_oom_events_total", "Count of out of memory events observed for the container", c, labels...),
		processes:        define("container_processes", "Number of processes running inside the container.", g, labels...),
		lastSeen:         define("container_last_seen", "Last time a container was seen by the exporter", g, labels...),
		started:          define("container_start_time_seconds", "Start time of the container since unix epoch in seconds.", g, labels...),
		shares:           define("container_spec_cpu_shares", "CPU share of the container.", g, labels...),
		quota:            define("container_spec_cpu_quota", "CPU quota of the container.", g, labels...),
		period:           define("container_spec_cpu_period", "CPU period of the container.", g, labels...),
	}
}

func (m *perCgroup) send(ch chan<- prometheus.Metric, st *cgroup.Stats, set []string) {
	ns := st.Time.UnixNano()
	m.cpu.send(ch, float64(st.CPUNanoseconds)/1e9, ns, with(set, "total")...)
	if st.CPUPeriods > 0 {
		m.periods.send(ch, float64(st.CPUPeriods), ns, set...)
		m.throttledPeriods.send(ch, float64(st.ThrottledPeriods), ns, set...)
		m.throttled.send(ch, float64(st.ThrottledNanoseconds)/1e9, ns, set...)
	}
	for _, one := range []struct {
		metric
		v uint64
	}{
		{m.usage, st.MemoryUsage}, {m.working, st.MemoryWorkingSet}, {m.rss, st.MemoryRSS}, {m.cache, st.MemoryCache}, {m.swap, st.SwapUsage},
		{m.peak, st.MemoryPeak}, {m.limit, st.MemoryLimit}, {m.ooms, st.OOMKills}, {m.processes, st.Processes},
	} {
		one.send(ch, float64(one.v), ns, set...)
	}
	m.faults.send(ch, float64(st.PageFaults), ns, with(set, "pgfault", "container")...)
	m.faults.send(ch, float64(st.MajorPageFaults), ns, with(set, "pgmajfault", "container")...)
	m.lastSeen.send(ch, float64(st.Time.Unix()), ns, set...)
}

// spec tells what the container was given.
func (m *perCgroup) spec(ch chan<- prometheus.Metric, c containerUse, set []string) {
	m.started.send(ch, float64(c.c.StartedAt)/1e9, 0, set...)
	r := c.c.GetResources().GetLinux()
	if r == nil {
		return
	}
	m.shares.send(ch, float64(r.CpuShares), 0, set...)
	m.period.send(ch, float64(r.CpuPeriod), 0, set...)
	if r.CpuQuota > 0 {
		m.quota.send(ch, float64(r.CpuQuota), 0, set...)
	}
}

// CAdvisor are the metrics of /metrics/cadvisor under the names that dashboards know, as far as the kernel and the runtime tell them.
func (s *Source) CAdvisor() prometheus.Gatherer {
	const c, g = prometheus.CounterValue, prometheus.GaugeValue
	labels := []string{"container", "id", "image", "name", "namespace", "pod"}
	perNet := []string{"container", "id", "image", "interface", "name", "namespace", "pod"}
	each := definePerCgroup(labels)
	fs := define("container_fs_usage_bytes", "Number of bytes that are consumed by the container on this filesystem.", g, with(labels, "device")...)
	rx := define("container_network_receive_bytes_total", "Cumulative count of bytes received", c, perNet...)
	tx := define("container_network_transmit_bytes_total", "Cumulative count of bytes transmitted", c, perNet...)
	rxErrors := define("container_network_receive_errors_total", "Cumulative count of errors encountered while receiving", c, perNet...)
	txErrors := define("container_network_transmit_errors_total", "Cumulative count of errors encountered while transmitting", c, perNet...)
	machineCPU := define("machine_cpu_cores", "Number of logical CPU cores.", g)
	machineMemory := define("machine_memory_bytes", "Amount of memory installed on the machine.", g)
	return registry(func(ch chan<- prometheus.Metric) {
		ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
		defer cancel()
		machineMemory.send(ch, float64(s.Memory), 0)
		machineCPU.send(ch, float64(runtime.NumCPU()), 0)
		for _, u := range s.collect(ctx, true) {
			of := func(container, id, image string) []string {
				return []string{container, id, image, id, u.pod.Namespace, u.pod.Name}
			}
			each.send(ch, u.all, of("", u.sandbox, ""))
			for _, c := range u.containers {
				set := of(c.c.Name, c.c.Id, c.c.GetImage().GetImage())
				each.send(ch, c.use, set)
				each.spec(ch, c, set)
				if l := c.layer; l != nil {
					fs.send(ch, float64(l.GetUsedBytes().GetValue()), l.Timestamp, with(set, l.GetFsId().GetMountpoint())...)
				}
			}
			for _, i := range interfaces(u.network) {
				set := []string{"POD", u.sandbox, "", i.Name, u.sandbox, u.pod.Namespace, u.pod.Name}
				rx.send(ch, float64(i.GetRxBytes().GetValue()), u.network.Timestamp, set...)
				tx.send(ch, float64(i.GetTxBytes().GetValue()), u.network.Timestamp, set...)
				rxErrors.send(ch, float64(i.GetRxErrors().GetValue()), u.network.Timestamp, set...)
				txErrors.send(ch, float64(i.GetTxErrors().GetValue()), u.network.Timestamp, set...)
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
