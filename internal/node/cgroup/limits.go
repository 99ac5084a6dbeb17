package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"syscall"

	"github.com/opencontainers/cgroups"
	corev1 "k8s.io/api/core/v1"
	resources "k8s.io/component-helpers/resource"
)

// Limits of one cgroup. A zero field leaves the kernel's value; Unlimited takes a bound away.
type Limits struct {
	CPUShares int64 // in v1's scale of 2 to 262144
	CPUQuota  int64 // µs of CPU time for each period
	CPUPeriod int64 // µs
	Memory    int64 // bytes
	PIDs      int64
}

// Unlimited takes a bound away.
const Unlimited = -1

const (
	minShares = 2
	maxShares = 262144
	minQuota  = 1000 // µs, the kernel's least
)

func shares(milli int64) int64 { return min(max(milli*1024/1000, minShares), maxShares) }

// limits of a pod's cgroup: its CPU and memory are bounded only when every container's are.
func (m *Manager) limits(pod *corev1.Pod) Limits {
	limits := resources.PodLimits(pod, resources.PodResourcesOptions{})
	l := Limits{CPUShares: shares(requestedCPU(pod)), CPUQuota: Unlimited, Memory: Unlimited}
	l.CPUPeriod = m.cfg.CPUPeriod.Microseconds()
	cpu, memory := bounded(pod)
	if q := limits[corev1.ResourceCPU]; cpu && !q.IsZero() && !m.cfg.NoCPUQuota {
		l.CPUQuota = max(q.MilliValue()*l.CPUPeriod/1000, minQuota)
	}
	if q := limits[corev1.ResourceMemory]; memory && !q.IsZero() {
		l.Memory = q.Value()
	}
	if m.cfg.PodPIDs > 0 {
		l.PIDs = m.cfg.PodPIDs
	}
	return l
}

func requestedCPU(pod *corev1.Pod) int64 {
	q := resources.PodRequests(pod, resources.PodResourcesOptions{})[corev1.ResourceCPU]
	return q.MilliValue()
}

// bounded tells whether CPU and memory of the pod have limits: of its own (KEP-2837) or for all containers.
func bounded(pod *corev1.Pod) (cpu, memory bool) {
	cpu, memory = true, true
	check := func(c *corev1.Container) {
		cpu = cpu && !c.Resources.Limits.Cpu().IsZero()
		memory = memory && !c.Resources.Limits.Memory().IsZero()
	}
	for i := range pod.Spec.Containers {
		check(&pod.Spec.Containers[i])
	}
	for i := range pod.Spec.InitContainers {
		check(&pod.Spec.InitContainers[i])
	}
	if r := pod.Spec.Resources; r != nil {
		cpu = cpu || !r.Limits.Cpu().IsZero()
		memory = memory || !r.Limits.Memory().IsZero()
	}
	return cpu, memory
}

// QoS is the pod's class: what the API server wrote or, for pods that it never saw, what follows from the spec
// (guaranteed: equal requests and limits of CPU and memory everywhere; best effort: none at all).
func QoS(pod *corev1.Pod) corev1.PodQOSClass {
	if pod.Status.QOSClass != "" {
		return pod.Status.QOSClass
	}
	any, all := false, true
	check := func(r corev1.ResourceRequirements) {
		for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
			request, limit := r.Requests[name], r.Limits[name]
			any = any || !request.IsZero() || !limit.IsZero()
			all = all && !limit.IsZero() && (request.IsZero() || request.Cmp(limit) == 0)
		}
	}
	if r := pod.Spec.Resources; r != nil && len(r.Requests)+len(r.Limits) > 0 {
		check(*r)
	} else {
		for _, c := range append(pod.Spec.InitContainers[:len(pod.Spec.InitContainers):len(pod.Spec.InitContainers)], pod.Spec.Containers...) {
			check(c.Resources)
		}
	}
	switch {
	case !any:
		return corev1.PodQOSBestEffort
	case all:
		return corev1.PodQOSGuaranteed
	}
	return corev1.PodQOSBurstable
}

// apply writes limits to a cgroup.
func (h *Hierarchy) apply(cg string, l Limits) error {
	set := h.setV1
	if h.V2 {
		set = h.setV2
	}
	if err := set(cg, l); err != nil {
		return fmt.Errorf("limits of cgroup %s: %w", cg, err)
	}
	return nil
}

func (h *Hierarchy) setV2(cg string, l Limits) error {
	dir := h.dir("", cg)
	bound := func(v int64) string {
		if v == Unlimited {
			return "max"
		}
		return strconv.FormatInt(v, 10)
	}
	var errs []error
	set := func(file, value string) {
		if err := write(dir, file, value); err != nil {
			errs = append(errs, err)
		}
	}
	if l.CPUShares > 0 {
		set("cpu.weight", strconv.FormatUint(cgroups.ConvertCPUSharesToCgroupV2Value(uint64(l.CPUShares)), 10))
	}
	if l.CPUQuota != 0 {
		set("cpu.max", bound(l.CPUQuota)+" "+strconv.FormatInt(l.CPUPeriod, 10))
	}
	if l.Memory != 0 {
		set("memory.max", bound(l.Memory))
	}
	if l.PIDs != 0 {
		set("pids.max", bound(l.PIDs))
	}
	return errors.Join(errs...)
}

func (h *Hierarchy) setV1(cg string, l Limits) error {
	var errs []error
	set := func(controller, file string, value int64) {
		dir := h.dir(controller, cg)
		if dir == "" {
			return // The machine lacks the controller, and so the bound.
		}
		if err := write(dir, file, strconv.FormatInt(value, 10)); err != nil {
			errs = append(errs, err)
		}
	}
	if l.CPUShares > 0 {
		set("cpu", "cpu.shares", l.CPUShares)
	}
	if l.CPUQuota != 0 && h.hasQuota(cg) {
		// A smaller quota goes in before a longer period does and the other way round: whichever order fits.
		before := len(errs)
		set("cpu", "cpu.cfs_period_us", l.CPUPeriod)
		set("cpu", "cpu.cfs_quota_us", l.CPUQuota)
		if len(errs) > before {
			errs = errs[:before]
			set("cpu", "cpu.cfs_quota_us", l.CPUQuota)
			set("cpu", "cpu.cfs_period_us", l.CPUPeriod)
		}
	}
	if l.Memory != 0 {
		set("memory", "memory.limit_in_bytes", l.Memory)
	}
	if l.PIDs == Unlimited {
		if d := h.dir("pids", cg); d != "" {
			errs = append(errs, write(d, "pids.max", "max"))
		}
	} else if l.PIDs != 0 {
		set("pids", "pids.max", l.PIDs)
	}
	return errors.Join(errs...)
}

// hasQuota tells whether the kernel was built with CFS quotas.
func (h *Hierarchy) hasQuota(cg string) bool {
	d := h.dir("cpu", cg)
	if d == "" {
		return false
	}
	err := syscall.Access(d+"/cpu.cfs_quota_us", 2)
	return !errors.Is(err, fs.ErrNotExist)
}
