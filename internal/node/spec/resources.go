package spec

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	resourcehelper "k8s.io/component-helpers/resource"
	rt "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const (
	minShares     = 2
	maxShares     = 262144
	minQuota      = 1000   // µs
	defaultPeriod = 100000 // µs

	oomGuaranteed = -997
	oomBestEffort = 1000

	// systemCritical is the least priority of pods that the system itself needs.
	systemCritical = 2000000000
)

// Shares are the CPU shares of a request in thousandths of a core.
func Shares(milli int64) int64 {
	if milli == 0 {
		return minShares
	}
	return min(max(milli*1024/1000, minShares), maxShares)
}

// Quota is the CFS quota in µs per period of a limit in thousandths of a core; 0 is no limit.
func Quota(milli, period int64) int64 {
	if milli == 0 {
		return 0
	}
	return max(milli*period/1000, minQuota)
}

// Resources of a container in the terms of the runtime.
func Resources(pod *corev1.Pod, c *corev1.Container, n *Node) *rt.LinuxContainerResources {
	r := &rt.LinuxContainerResources{OomScoreAdj: OOMScore(pod, c, n.MemoryCapacity)}
	request, asked := c.Resources.Requests[corev1.ResourceCPU]
	limit, limited := quantity(c.Resources.Limits, corev1.ResourceCPU)
	if (!asked || request.IsZero()) && limited {
		request = limit
	}
	r.CpuShares = Shares(request.MilliValue())
	if !limited && pod.Spec.Resources != nil {
		limit = pod.Spec.Resources.Limits[corev1.ResourceCPU]
	}
	if n.CPUQuota {
		r.CpuPeriod = n.CPUPeriod
		if r.CpuPeriod == 0 {
			r.CpuPeriod = defaultPeriod
		}
		r.CpuQuota = Quota(limit.MilliValue(), r.CpuPeriod)
	}
	memory := c.Resources.Limits[corev1.ResourceMemory]
	if memory.IsZero() && pod.Spec.Resources != nil {
		memory = pod.Spec.Resources.Limits[corev1.ResourceMemory]
	}
	r.MemoryLimitInBytes = memory.Value()
	r.HugepageLimits = hugepages(c, n.HugepageSizes)
	return r
}

func hugepages(c *corev1.Container, sizes []string) []*rt.HugepageLimit {
	var out []*rt.HugepageLimit
	for _, size := range sizes {
		l := &rt.HugepageLimit{PageSize: size}
		for name, q := range c.Resources.Limits {
			s, ok := strings.CutPrefix(string(name), corev1.ResourceHugePagesPrefix)
			if !ok {
				continue
			}
			if asked, err := resource.ParseQuantity(s); err == nil && PageSize(asked.Value()) == size {
				l.Limit = uint64(q.Value())
			}
		}
		out = append(out, l)
	}
	return out
}

// PageSize names a size in bytes as the kernel's hugetlb cgroup does: "2MB", "1GB", "64KB".
func PageSize(bytes int64) string {
	units := []string{"B", "KB", "MB", "GB", "TB"}
	i := 0
	for bytes >= 1024 && bytes%1024 == 0 && i < len(units)-1 {
		bytes /= 1024
		i++
	}
	return resource.NewQuantity(bytes, resource.DecimalSI).AsDec().String() + units[i]
}

// OOMScore makes the kernel prefer, when memory runs out, pods that asked for little of it.
func OOMScore(pod *corev1.Pod, c *corev1.Container, capacity int64) int64 {
	if pod.Spec.Priority != nil && *pod.Spec.Priority >= systemCritical+1000 {
		return oomGuaranteed
	}
	switch QOS(pod) {
	case corev1.PodQOSGuaranteed:
		return oomGuaranteed
	case corev1.PodQOSBestEffort:
		return oomBestEffort
	}
	if capacity <= 0 {
		return oomBestEffort - 1
	}
	score := burstable(c.Resources.Requests.Memory().Value(), capacity)
	if isSidecar(pod, c.Name) { // a sidecar must not die before the containers that it serves
		for i := range pod.Spec.Containers {
			score = min(score, burstable(pod.Spec.Containers[i].Resources.Requests.Memory().Value(), capacity))
		}
	}
	return score
}

func burstable(request, capacity int64) int64 {
	score := 1000 - 1000*request/capacity
	return min(max(score, 1000+oomGuaranteed), oomBestEffort-1)
}

func isSidecar(pod *corev1.Pod, name string) bool {
	for i := range pod.Spec.InitContainers {
		if c := &pod.Spec.InitContainers[i]; c.Name == name {
			return Restartable(c)
		}
	}
	return false
}

// podResources are the sum of the containers', told to the sandbox for runtimes that size a virtual machine.
func podResources(pod *corev1.Pod, n *Node) (resources, overhead *rt.LinuxContainerResources) {
	opts := resourcehelper.PodResourcesOptions{ExcludeOverhead: true}
	resources = linuxResources(resourcehelper.PodRequests(pod, opts), resourcehelper.PodLimits(pod, opts), n)
	overhead = linuxResources(pod.Spec.Overhead, pod.Spec.Overhead, n)
	if len(pod.Spec.Overhead) == 0 {
		overhead = &rt.LinuxContainerResources{}
	}
	return resources, overhead
}

func linuxResources(requests, limits corev1.ResourceList, n *Node) *rt.LinuxContainerResources {
	period := n.CPUPeriod
	if period == 0 {
		period = defaultPeriod
	}
	r := &rt.LinuxContainerResources{CpuShares: Shares(requests.Cpu().MilliValue()), MemoryLimitInBytes: limits.Memory().Value()}
	if n.CPUQuota {
		r.CpuPeriod, r.CpuQuota = period, Quota(limits.Cpu().MilliValue(), period)
	}
	return r
}
