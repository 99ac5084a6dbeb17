package cgroup

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"hyperkube/internal/testenv"
)

func list(cpu, memory string) corev1.ResourceList {
	l := corev1.ResourceList{}
	if cpu != "" {
		l[corev1.ResourceCPU] = resource.MustParse(cpu)
	}
	if memory != "" {
		l[corev1.ResourceMemory] = resource.MustParse(memory)
	}
	return l
}

func pod(uid string, resources ...corev1.ResourceRequirements) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: types.UID(uid), Name: "p", Namespace: "n"}}
	for i, r := range resources {
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: fmt.Sprint("c", i), Resources: r})
	}
	return p
}

var (
	none       = corev1.ResourceRequirements{}
	guaranteed = corev1.ResourceRequirements{Requests: list("500m", "64Mi"), Limits: list("500m", "64Mi")}
	requests   = corev1.ResourceRequirements{Requests: list("250m", "")}
	both       = corev1.ResourceRequirements{Requests: list("100m", "32Mi"), Limits: list("1", "128Mi")}
)

func TestQoS(t *testing.T) {
	for want, pods := range map[corev1.PodQOSClass][]*corev1.Pod{
		corev1.PodQOSBestEffort: {pod("a", none), pod("a", none, none)},
		corev1.PodQOSGuaranteed: {pod("a", guaranteed), pod("a", guaranteed, guaranteed), pod("a", corev1.ResourceRequirements{Limits: list("1", "1Gi")})},
		corev1.PodQOSBurstable:  {pod("a", requests), pod("a", guaranteed, none), pod("a", both), pod("a", corev1.ResourceRequirements{Limits: list("1", "")})},
	} {
		for i, p := range pods {
			if got := QoS(p); got != want {
				t.Errorf("%s %d: got %s", want, i, got)
			}
		}
	}
	fixed := pod("a", none)
	fixed.Status.QOSClass = corev1.PodQOSBurstable
	if QoS(fixed) != corev1.PodQOSBurstable {
		t.Error("the class in the status does not count")
	}
}

func TestLimits(t *testing.T) {
	sidecar := pod("a", guaranteed)
	always := corev1.ContainerRestartPolicyAlways
	sidecar.Spec.InitContainers = []corev1.Container{{Resources: guaranteed, RestartPolicy: &always}}
	podLevel := pod("a", none)
	podLevel.Spec.Resources = &corev1.ResourceRequirements{Requests: list("1", ""), Limits: list("2", "1Gi")}
	for name, c := range map[string]struct {
		cfg  Config
		pod  *corev1.Pod
		want Limits
	}{
		"best effort":   {Config{}, pod("a", none), Limits{CPUShares: 2, CPUQuota: -1, CPUPeriod: 100000, Memory: -1}},
		"guaranteed":    {Config{PodPIDs: 7}, pod("a", guaranteed), Limits{CPUShares: 512, CPUQuota: 50000, CPUPeriod: 100000, Memory: 64 << 20, PIDs: 7}},
		"no quota":      {Config{NoCPUQuota: true}, pod("a", guaranteed), Limits{CPUShares: 512, CPUQuota: -1, CPUPeriod: 100000, Memory: 64 << 20}},
		"short period":  {Config{CPUPeriod: 10 * time.Millisecond}, pod("a", both), Limits{CPUShares: 102, CPUQuota: 10000, CPUPeriod: 10000, Memory: 128 << 20}},
		"one unbounded": {Config{}, pod("a", both, requests), Limits{CPUShares: 358, CPUQuota: -1, CPUPeriod: 100000, Memory: -1}},
		"sidecar":       {Config{}, sidecar, Limits{CPUShares: 1024, CPUQuota: 100000, CPUPeriod: 100000, Memory: 128 << 20}},
		"pod level":     {Config{}, podLevel, Limits{CPUShares: 1024, CPUQuota: 200000, CPUPeriod: 100000, Memory: 1 << 30}},
	} {
		t.Run(name, func(t *testing.T) {
			if c.cfg.CPUPeriod == 0 {
				c.cfg.CPUPeriod = 100 * time.Millisecond
			}
			if got := (&Manager{cfg: c.cfg}).limits(c.pod); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestMounts(t *testing.T) {
	h := &Hierarchy{controllers: map[string]string{}}
	for _, line := range strings.Split(`30 24 0:26 / /sys/fs/cgroup ro,nosuid shared:9 - tmpfs tmpfs ro,mode=755
31 30 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:10 - cgroup2 cgroup2 rw,nsdelegate
32 30 0:28 / /sys/fs/cgroup/systemd rw shared:11 - cgroup cgroup rw,xattr,name=systemd
34 30 0:31 / /sys/fs/cgroup/cpu,cpuacct rw shared:15 - cgroup cgroup rw,cpu,cpuacct
35 30 0:32 / /sys/fs/cgroup/memory rw shared:16 - cgroup cgroup rw,memory`, "\n") {
		h.addMount(line)
	}
	if h.dir("cpuacct", "/a") != "/sys/fs/cgroup/cpu,cpuacct/a" || h.dir("memory", "a") != "/sys/fs/cgroup/memory/a" || h.dir("pids", "a") != "" {
		t.Errorf("got %+v", h)
	}
	want := []string{"/sys/fs/cgroup/cpu,cpuacct/x", "/sys/fs/cgroup/memory/x", "/sys/fs/cgroup/systemd/x", "/sys/fs/cgroup/unified/x"}
	if got := h.dirs("/x"); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// fakeV2 is a directory with the files that a kernel with version 2 would make.
func fakeV2(t *testing.T, cgroups ...string) *Hierarchy {
	t.Helper()
	top := t.TempDir()
	for _, cg := range append(cgroups, "/") {
		for at := cg; ; at = filepath.Dir(at) {
			dir := filepath.Join(top, at)
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			for name, text := range map[string]string{
				"cgroup.controllers": "cpu memory pids\n", "cgroup.subtree_control": "cpu memory pids\n", "cgroup.procs": "",
				"cpu.weight": "100\n", "cpu.max": "max 100000\n", "memory.max": "max\n", "pids.max": "max\n",
				"cpu.stat": "usage_usec 2500\nuser_usec 1\nnr_periods 9\nnr_throttled 4\nthrottled_usec 8\n", "memory.peak": "6000\n", "memory.current": "5000\n", "memory.swap.current": "10\n",
				"memory.stat": "anon 3000\nfile 2000\ninactive_file 1500\npgfault 7\npgmajfault 2\n", "memory.events": "oom 1\noom_kill 1\n", "pids.current": "3\n",
			} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if at == "/" || at == "." {
				break
			}
		}
	}
	return &Hierarchy{V2: true, unified: top, controllers: map[string]string{}}
}

func TestVersion2(t *testing.T) {
	h := fakeV2(t, "/x/kubepods/burstable/poda", "/x/kubepods/podb", "/x/kubepods/besteffort")
	m, err := newManager(Config{Parent: "/x", PodPIDs: 100}, h)
	if err != nil {
		t.Fatal(err)
	}
	parent, err := m.Ensure(pod("a", both))
	if err != nil || parent != "/x/kubepods/burstable/poda" {
		t.Fatalf("got %s, %v", parent, err)
	}
	if _, err := m.Ensure(pod("b", guaranteed)); err != nil {
		t.Fatal(err)
	}
	if err := m.SetAllocatable(1500, 1<<30, 5000); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		"x/kubepods/burstable/poda/cpu.weight": "17", "x/kubepods/burstable/poda/cpu.max": "100000 100000",
		"x/kubepods/burstable/poda/memory.max": "134217728", "x/kubepods/burstable/poda/pids.max": "100",
		"x/kubepods/podb/cpu.max": "50000 100000", "x/kubepods/podb/cpu.weight": "59",
		"x/kubepods/burstable/cpu.weight": "17", "x/kubepods/besteffort/cpu.weight": "1",
		"x/kubepods/memory.max": "1073741824", "x/kubepods/pids.max": "5000", "x/kubepods/cpu.weight": "138",
	} {
		got, err := os.ReadFile(filepath.Join(h.unified, file))
		if err != nil || string(got) != want {
			t.Errorf("%s is %q (%v), want %q", file, got, err, want)
		}
	}
	s, err := m.PodStats("a")
	if err != nil {
		t.Fatal(err)
	}
	s.Time = time.Time{}
	want := Stats{CPUNanoseconds: 2500000, CPUPeriods: 9, ThrottledPeriods: 4, ThrottledNanoseconds: 8000, MemoryCache: 2000, MemoryPeak: 6000, MemoryUsage: 5000, MemoryWorkingSet: 3500, MemoryRSS: 3000, MemoryLimit: 134217728,
		SwapUsage: 10, PageFaults: 7, MajorPageFaults: 2, Processes: 3, OOMKills: 1}
	if *s != want {
		t.Errorf("stats %+v, want %+v", *s, want)
	}
}

func TestRealHierarchy(t *testing.T) {
	testenv.NeedRoot(t)
	m, err := New(Config{Parent: fmt.Sprintf("/hyperkube-test-%d", os.Getpid()), PodPIDs: 50})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := m.h.Destroy(t.Context(), m.cfg.Parent); err != nil {
			t.Error(err)
		}
		if m.h.Exists(m.cfg.Parent) {
			t.Error("the tree is still there")
		}
	}()
	p := pod("a", both)
	cg, err := m.Ensure(p)
	if err != nil {
		t.Fatal(err)
	}
	bigger := p.DeepCopy()
	bigger.Spec.Containers[0].Resources.Limits = list("2", "256Mi")
	if _, err := m.Ensure(bigger); err != nil {
		t.Fatal(err)
	}
	// A process that forks another once it is in the cgroup, each of which ignores polite signals.
	cmd := exec.Command("sh", "-c", "trap '' TERM; read go; (trap '' TERM; while :; do sleep 1; done) & wait")
	wait, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	for _, d := range m.h.dirs(filepath.Join(cg, "inner")) {
		if _, err := os.Stat(filepath.Dir(d)); err != nil {
			continue
		}
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := write(d, "cgroup.procs", fmt.Sprint(cmd.Process.Pid)); err != nil {
			t.Fatal(err)
		}
	}
	go func() { done <- cmd.Wait() }()
	if err := wait.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := m.PodStats("a")
	if err != nil || s.Processes == 0 || s.MemoryLimit != 256<<20 {
		t.Errorf("stats %+v, %v", s, err)
	}
	if uids, err := m.Pods(); err != nil || !slices.Equal(uids, []types.UID{"a"}) {
		t.Errorf("pods %v, %v", uids, err)
	}
	if err := m.Remove("a"); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err == nil {
		t.Error("the process was not killed")
	}
	if err := m.Remove("a"); err != nil {
		t.Errorf("removing what is gone: %v", err)
	}
	if _, err := m.PodStats("a"); !errors.Is(err, ErrNotFound) {
		t.Errorf("stats of what is gone: %v", err)
	}
	if err := m.h.Destroy(t.Context(), "/"); err == nil {
		t.Error("the root cgroup was to be destroyed")
	}
}
