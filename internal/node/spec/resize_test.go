package spec

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	rt "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestLeastNeverExceedsEither(t *testing.T) {
	a := &rt.LinuxContainerResources{CpuShares: 100, CpuQuota: 20000, MemoryLimitInBytes: 0}
	b := &rt.LinuxContainerResources{CpuShares: 200, CpuQuota: 0, CpuPeriod: 100000, MemoryLimitInBytes: 1 << 20}
	got := Least(a, b)
	if got.CpuQuota != 20000 || got.MemoryLimitInBytes != 1<<20 || got.CpuShares != 200 || got.CpuPeriod != 100000 {
		t.Errorf("got %+v", got)
	}
	if none := Least(b, b); none.CpuQuota != -1 {
		t.Errorf("no limit is %d, want -1: the runtime leaves 0 as it is", none.CpuQuota)
	}
}

func TestNeedsFollowsThePolicyOfWhatChanges(t *testing.T) {
	c := &corev1.Container{ResizePolicy: []corev1.ContainerResizePolicy{
		{ResourceName: corev1.ResourceCPU, RestartPolicy: corev1.NotRequired},
		{ResourceName: corev1.ResourceMemory, RestartPolicy: corev1.RestartContainer},
	}}
	if Needs(c, true, false) || !Needs(c, false, true) || !Needs(c, true, true) || Needs(&corev1.Container{}, true, true) {
		t.Error("only a change of memory restarts this container")
	}
}

func TestActualTellsTheKernelsValuesWhereTheyDiffer(t *testing.T) {
	list := func(cpu, memory string) corev1.ResourceList {
		l := corev1.ResourceList{}
		if cpu != "" {
			l[corev1.ResourceCPU] = resource.MustParse(cpu)
		}
		if memory != "" {
			l[corev1.ResourceMemory] = resource.MustParse(memory)
		}
		return l
	}
	n := &Node{CPUQuota: true, MemoryCapacity: 1 << 30}
	c := corev1.Container{Name: "c", Resources: corev1.ResourceRequirements{Requests: list("1m", "10Mi"), Limits: list("5m", "20Mi")}}
	pod := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{c}}}
	// The kernel knows no share below 2 and no quota below 1 ms: these are what was asked for.
	same := &rt.LinuxContainerResources{CpuShares: 2, CpuQuota: 1000, CpuPeriod: 100000, MemoryLimitInBytes: 20 << 20}
	got := Actual(pod, &c, same, n)
	if got.Requests.Cpu().String() != "1m" || got.Limits.Cpu().String() != "5m" || got.Limits.Memory().String() != "20Mi" {
		t.Errorf("as asked: %+v", got)
	}
	other := &rt.LinuxContainerResources{CpuShares: 102, CpuQuota: 20000, CpuPeriod: 100000, MemoryLimitInBytes: 30 << 20}
	got = Actual(pod, &c, other, n)
	if got.Requests.Cpu().String() != "100m" || got.Limits.Cpu().String() != "200m" || got.Limits.Memory().String() != "30Mi" || got.Requests.Memory().String() != "10Mi" {
		t.Errorf("not carried out yet: %+v", got)
	}
	if c.Resources.Limits.Cpu().String() != "5m" {
		t.Error("the spec was changed")
	}
}
