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
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	rt "k8s.io/cri-api/pkg/apis/runtime/v1"
	api "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"hyperkube/internal/node/cgroup"
)

// Summary is the answer of /stats/summary.
func (s *Source) Summary(ctx context.Context, cpuAndMemoryOnly bool) (*api.Summary, error) {
	node, err := s.node(ctx, cpuAndMemoryOnly)
	if err != nil {
		return nil, err
	}
	out := &api.Summary{Node: *node, Pods: []api.PodStats{}}
	for _, u := range s.collect(ctx, !cpuAndMemoryOnly) {
		out.Pods = append(out.Pods, s.pod(u, cpuAndMemoryOnly))
	}
	return out, nil
}

func (s *Source) pod(u podUse, only bool) api.PodStats {
	out := api.PodStats{
		PodRef: api.PodReference{Name: u.pod.Name, Namespace: u.pod.Namespace, UID: string(u.pod.UID)},
		CPU:    s.cpu(string(u.pod.UID), u.all), Memory: memory(u.all), Containers: []api.ContainerStats{},
	}
	if t := u.pod.Status.StartTime; t != nil {
		out.StartTime = *t
	}
	var ephemeral uint64
	for _, c := range u.containers {
		cs := api.ContainerStats{Name: c.c.Name, StartTime: at(c.c.StartedAt), CPU: s.cpu(c.c.Id, c.use), Memory: memory(c.use)}
		if !only {
			cs.Rootfs = layer(c.layer)
			ephemeral += c.layer.GetUsedBytes().GetValue()
		}
		out.Containers = append(out.Containers, cs)
	}
	if !only {
		out.Network = network(u.network)
		out.ProcessStats = &api.ProcessStats{ProcessCount: &u.all.Processes}
		out.EphemeralStorage = &api.FsStats{Time: metav1.Now(), UsedBytes: &ephemeral}
	}
	return out
}

func (s *Source) cpu(key string, u *cgroup.Stats) *api.CPUStats {
	return &api.CPUStats{Time: metav1.NewTime(u.Time), UsageCoreNanoSeconds: &u.CPUNanoseconds, UsageNanoCores: s.nanocores(key, u.Time, u.CPUNanoseconds)}
}

func memory(u *cgroup.Stats) *api.MemoryStats {
	m := &api.MemoryStats{Time: metav1.NewTime(u.Time), UsageBytes: &u.MemoryUsage, WorkingSetBytes: &u.MemoryWorkingSet, RSSBytes: &u.MemoryRSS,
		PageFaults: &u.PageFaults, MajorPageFaults: &u.MajorPageFaults}
	if u.MemoryLimit > 0 {
		left := u.MemoryLimit - min(u.MemoryLimit, u.MemoryWorkingSet)
		m.AvailableBytes = &left
	}
	return m
}

func value(v *rt.UInt64Value) *uint64 {
	if v == nil {
		return nil
	}
	n := v.Value
	return &n
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
		CPU:    &api.CPUStats{Time: now, UsageCoreNanoSeconds: &used, UsageNanoCores: s.nanocores("", now.Time, used)},
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
