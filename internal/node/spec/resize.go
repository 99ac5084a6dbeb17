package spec

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	rt "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Has says whether a running container has the resources that it should have, as far as the kernel can tell them apart; have is nil
// when the runtime does not tell, which counts as right.
func Has(have, want *rt.LinuxContainerResources) (cpu, memory bool) {
	if have == nil {
		return true, true
	}
	cpu = max(have.CpuShares, minShares) == max(want.CpuShares, minShares) && bound(have.CpuQuota) == bound(want.CpuQuota)
	return cpu, bound(have.MemoryLimitInBytes) == bound(want.MemoryLimitInBytes)
}

// unlimited is more than any limit.
const unlimited = int64(^uint64(0) >> 1)

// bound of a limit, where 0 and less are none.
func bound(v int64) int64 {
	if v <= 0 {
		return unlimited
	}
	return v
}

// Least are the lesser of two sets of limits, with the shares of the second: what a container may have while its pod goes from one to
// the other, since no container may have more than its pod.
func Least(a, b *rt.LinuxContainerResources) *rt.LinuxContainerResources {
	least := func(x, y int64) int64 {
		if v := min(bound(x), bound(y)); v != unlimited {
			return v
		}
		return -1
	}
	return &rt.LinuxContainerResources{
		CpuShares: b.CpuShares, CpuPeriod: b.CpuPeriod, CpuQuota: least(a.CpuQuota, b.CpuQuota),
		MemoryLimitInBytes: least(a.MemoryLimitInBytes, b.MemoryLimitInBytes), OomScoreAdj: b.OomScoreAdj,
	}
}

// Needs says whether a change of a container's resources is to restart it, by its resize policies.
func Needs(c *corev1.Container, cpu, memory bool) bool {
	for _, p := range c.ResizePolicy {
		changes := p.ResourceName == corev1.ResourceCPU && cpu || p.ResourceName == corev1.ResourceMemory && memory
		if changes && p.RestartPolicy == corev1.RestartContainer {
			return true
		}
	}
	return false
}

// Actual are the resources that a running container has, told in the terms of its spec: those of the spec where the kernel has what it
// says, and what the kernel has where it does not (yet).
func Actual(pod *corev1.Pod, c *corev1.Container, have *rt.LinuxContainerResources, n *Node) *corev1.ResourceRequirements {
	out := c.Resources.DeepCopy()
	want := Resources(pod, c, n)
	cpu, memory := Has(have, want)
	set := func(list *corev1.ResourceList, name corev1.ResourceName, q *resource.Quantity) {
		if q == nil {
			delete(*list, name)
			return
		}
		if *list == nil {
			*list = corev1.ResourceList{}
		}
		(*list)[name] = *q
	}
	if !cpu {
		if _, asked := out.Requests[corev1.ResourceCPU]; asked || have.CpuShares > minShares {
			set(&out.Requests, corev1.ResourceCPU, resource.NewMilliQuantity((have.CpuShares*1000+1023)/1024, resource.DecimalSI))
		}
		var limit *resource.Quantity
		if have.CpuQuota > 0 && have.CpuPeriod > 0 {
			limit = resource.NewMilliQuantity(have.CpuQuota*1000/have.CpuPeriod, resource.DecimalSI)
		}
		set(&out.Limits, corev1.ResourceCPU, limit)
	}
	if !memory {
		var limit *resource.Quantity
		if have.MemoryLimitInBytes > 0 {
			limit = resource.NewQuantity(have.MemoryLimitInBytes, resource.BinarySI)
		}
		set(&out.Limits, corev1.ResourceMemory, limit)
	}
	return out
}
