// Package stats measures what the node and its pods use: for /stats/summary, and as Prometheus metrics for /metrics/resource and
// /metrics/cadvisor. Nothing is measured before somebody asks. The figures of pods come from the runtime.
package stats

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	rt "k8s.io/cri-api/pkg/apis/runtime/v1"
	api "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"hyperkube/internal/node/cri"
)

// Source of figures. Safe for concurrent use.
type Source struct {
	CRI      *cri.Client
	NodeName string
	RootDir  string
	Memory   int64 // of the machine, bytes
	Pods     func() []*corev1.Pod
	Started  time.Time
}

// Summary is the answer of /stats/summary.
func (s *Source) Summary(ctx context.Context, cpuAndMemoryOnly bool) (*api.Summary, error) {
	resp, err := s.CRI.Runtime.ListPodSandboxStats(ctx, &rt.ListPodSandboxStatsRequest{})
	if err != nil {
		return nil, fmt.Errorf("stats of the pods: %w", err)
	}
	node, err := s.node(ctx, cpuAndMemoryOnly)
	if err != nil {
		return nil, err
	}
	out := &api.Summary{Node: *node, Pods: []api.PodStats{}}
	starts := s.starts()
	for _, p := range resp.Stats {
		out.Pods = append(out.Pods, podStats(p, starts, cpuAndMemoryOnly))
	}
	return out, nil
}

// starts are the times at which pods started, by UID.
func (s *Source) starts() map[string]metav1.Time {
	out := map[string]metav1.Time{}
	for _, p := range s.Pods() {
		if p.Status.StartTime != nil {
			out[string(p.UID)] = *p.Status.StartTime
		}
	}
	return out
}

func podStats(p *rt.PodSandboxStats, starts map[string]metav1.Time, only bool) api.PodStats {
	m := p.GetAttributes().GetMetadata()
	l := p.GetLinux()
	out := api.PodStats{
		PodRef: api.PodReference{Name: m.GetName(), Namespace: m.GetNamespace(), UID: m.GetUid()}, StartTime: starts[m.GetUid()],
		CPU: cpu(l.GetCpu()), Memory: memory(l.GetMemory()), Containers: []api.ContainerStats{},
	}
	if !only {
		out.Network = network(l.GetNetwork())
		if n := l.GetProcess(); n != nil {
			out.ProcessStats = &api.ProcessStats{ProcessCount: value(n.ProcessCount)}
		}
	}
	var ephemeral uint64
	for _, c := range l.GetContainers() {
		cs := api.ContainerStats{Name: c.GetAttributes().GetMetadata().GetName(), StartTime: starts[m.GetUid()], CPU: cpu(c.Cpu), Memory: memory(c.Memory)}
		if !only {
			cs.Rootfs = layer(c.WritableLayer)
			ephemeral += c.GetWritableLayer().GetUsedBytes().GetValue()
		}
		out.Containers = append(out.Containers, cs)
	}
	if !only {
		out.EphemeralStorage = &api.FsStats{Time: metav1.Now(), UsedBytes: &ephemeral}
	}
	return out
}

func value(v *rt.UInt64Value) *uint64 {
	if v == nil {
		return nil
	}
	n := v.Value
	return &n
}

func cpu(c *rt.CpuUsage) *api.CPUStats {
	if c == nil {
		return nil
	}
	return &api.CPUStats{Time: at(c.Timestamp), UsageCoreNanoSeconds: value(c.UsageCoreNanoSeconds), UsageNanoCores: value(c.UsageNanoCores)}
}

func memory(m *rt.MemoryUsage) *api.MemoryStats {
	if m == nil {
		return nil
	}
	return &api.MemoryStats{Time: at(m.Timestamp), WorkingSetBytes: value(m.WorkingSetBytes), AvailableBytes: value(m.AvailableBytes), UsageBytes: value(m.UsageBytes),
		RSSBytes: value(m.RssBytes), PageFaults: value(m.PageFaults), MajorPageFaults: value(m.MajorPageFaults)}
}

func network(n *rt.NetworkUsage) *api.NetworkStats {
	if n == nil {
		return nil
	}
	out := &api.NetworkStats{Time: at(n.Timestamp)}
	if i := n.DefaultInterface; i != nil {
		out.InterfaceStats = iface(i)
	}
	for _, i := range n.Interfaces {
		out.Interfaces = append(out.Interfaces, iface(i))
	}
	return out
}

func iface(i *rt.NetworkInterfaceUsage) api.InterfaceStats {
	return api.InterfaceStats{Name: i.Name, RxBytes: value(i.RxBytes), RxErrors: value(i.RxErrors), TxBytes: value(i.TxBytes), TxErrors: value(i.TxErrors)}
}

func layer(f *rt.FilesystemUsage) *api.FsStats {
	if f == nil {
		return nil
	}
	return &api.FsStats{Time: at(f.Timestamp), UsedBytes: value(f.UsedBytes), InodesUsed: value(f.InodesUsed)}
}

func at(ns int64) metav1.Time { return metav1.NewTime(time.Unix(0, ns)) }

// node measures the machine.
func (s *Source) node(ctx context.Context, only bool) (*api.NodeStats, error) {
	now := metav1.Now()
	used, err := cpuNanoseconds()
	if err != nil {
		return nil, err
	}
	mem, err := memoryOf()
	if err != nil {
		return nil, err
	}
	available := mem["MemAvailable"]
	usage, working := mem["MemTotal"]-mem["MemFree"], mem["MemTotal"]-available
	rss := mem["AnonPages"]
	out := &api.NodeStats{
		NodeName: s.NodeName, StartTime: metav1.NewTime(bootTime()), SystemContainers: []api.ContainerStats{},
		CPU:    &api.CPUStats{Time: now, UsageCoreNanoSeconds: &used},
		Memory: &api.MemoryStats{Time: now, AvailableBytes: &available, UsageBytes: &usage, WorkingSetBytes: &working, RSSBytes: &rss},
	}
	if only {
		return out, nil
	}
	if out.Fs, err = filesystem(s.RootDir); err != nil {
		return nil, err
	}
	out.Runtime = &api.RuntimeStats{}
	info, err := s.CRI.Images.ImageFsInfo(ctx, &rt.ImageFsInfoRequest{})
	if err == nil && len(info.ImageFilesystems) > 0 {
		f := info.ImageFilesystems[0]
		if fs, err := filesystem(f.GetFsId().GetMountpoint()); err == nil {
			fs.UsedBytes, fs.InodesUsed = value(f.UsedBytes), value(f.InodesUsed)
			out.Runtime.ImageFs, out.Runtime.ContainerFs = fs, fs
		}
	}
	return out, nil
}

func filesystem(path string) (*api.FsStats, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return nil, err
	}
	size := uint64(st.Bsize)
	available, capacity, used := st.Bavail*size, st.Blocks*size, (st.Blocks-st.Bfree)*size
	inodes, free := st.Files, st.Ffree
	taken := inodes - free
	return &api.FsStats{Time: metav1.Now(), AvailableBytes: &available, CapacityBytes: &capacity, UsedBytes: &used, Inodes: &inodes, InodesFree: &free, InodesUsed: &taken}, nil
}

// ticks per second of /proc/stat, fixed by the kernel's user interface.
const ticks = 100

// cpuNanoseconds is the time that all cores were busy since boot.
func cpuNanoseconds() (uint64, error) {
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(data), "\n")
	var busy uint64
	for i, f := range strings.Fields(line) {
		if i == 0 || i == 4 || i == 5 || i > 8 { // the name, idle, iowait; guest time is in user time
			continue
		}
		n, err := strconv.ParseUint(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/stat: %w", err)
		}
		busy += n
	}
	return busy * (1e9 / ticks), nil
}

func memoryOf() (map[string]uint64, error) {
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return nil, err
	}
	out := map[string]uint64{}
	for _, line := range strings.Split(string(data), "\n") {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		n, err := strconv.ParseUint(f[1], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("/proc/meminfo: %w", err)
		}
		out[strings.TrimSuffix(f[0], ":")] = n * 1024
	}
	return out, nil
}

func bootTime() time.Time {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return time.Time{}
	}
	return time.Now().Add(-time.Duration(info.Uptime) * time.Second).Truncate(time.Second)
}
