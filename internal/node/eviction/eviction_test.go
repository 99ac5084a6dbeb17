package eviction

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"hyperkube/internal/node/cgroup"
	"hyperkube/internal/node/nodestatus"
)

func pod(name string, priority int32, memory string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "n", UID: types.UID(name)}}
	p.Spec.Priority = &priority
	c := corev1.Container{Name: "c"}
	if memory != "" {
		c.Resources.Requests = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse(memory)}
	}
	p.Spec.Containers = []corev1.Container{c}
	return p
}

// node is a machine whose figures the test sets.
type node struct {
	now     time.Time
	signals nodestatus.Signals
	use     map[types.UID]uint64
	disk    map[types.UID]*Disk
	pods    []*corev1.Pod
	ended   map[string]string
	reclaim func()
	changes int
	soft    Soft
	graces  []int64
}

func (n *node) manager() *Manager {
	n.now, n.ended = time.Unix(1000, 0), map[string]string{}
	return New(Config{
		Thresholds: nodestatus.Thresholds{Memory: nodestatus.Threshold{Amount: 100 << 20}, Disk: nodestatus.Threshold{Part: 0.1}},
		Soft:       n.soft,
		Pods:       func() []*corev1.Pod { return n.pods },
		Stats: func(uid types.UID) (*cgroup.Stats, error) {
			if u, ok := n.use[uid]; ok {
				return &cgroup.Stats{MemoryWorkingSet: u << 20}, nil
			}
			return nil, cgroup.ErrNotFound
		},
		Disk: func(_ context.Context, p *corev1.Pod) (*Disk, error) {
			if d := n.disk[p.UID]; d != nil {
				return d, nil
			}
			return &Disk{}, nil
		},
		End: func(p *corev1.Pod, message string, grace int64) {
			n.ended[p.Name] = message
			n.graces = append(n.graces, grace)
		},
		Reclaim: func(context.Context) error {
			if n.reclaim != nil {
				n.reclaim()
			}
			return nil
		},
		Changed: func() { n.changes++ },
		Now:     func() time.Time { return n.now },
		Read:    func(string) (nodestatus.Signals, error) { return n.signals, nil },
	})
}

func healthy() nodestatus.Signals {
	return nodestatus.Signals{Memory: 1 << 30, Disk: 50 << 30, DiskSize: 100 << 30, PIDs: 1000, PIDsAll: 1000}
}

func TestMemoryPressureEndsTheRightPod(t *testing.T) {
	n := &node{signals: healthy(), use: map[types.UID]uint64{"modest": 50, "greedy": 300, "important": 900, "vital": 2000}, pods: []*corev1.Pod{
		pod("modest", 0, "100Mi"), pod("greedy", 0, "100Mi"), pod("important", 1000, ""), pod("vital", systemCritical, ""), pod("gone", 0, ""),
	}}
	m := n.manager()
	if err := m.Check(t.Context()); err != nil || len(n.ended) != 0 || n.changes != 0 {
		t.Fatalf("without pressure: %v, ended %v", err, n.ended)
	}
	n.signals.Memory = 60 << 20
	for _, want := range []string{"greedy", "important", "modest"} {
		if err := m.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, ok := n.ended[want]; !ok || len(n.ended) != 1 {
			t.Fatalf("ended %v, want %s", n.ended, want)
		}
		if want == "greedy" && n.ended[want] != "The node was low on resource: memory. Threshold quantity: 100Mi, available: 60Mi. Pod was using 300Mi, request is 100Mi, has larger consumption of memory. " {
			t.Errorf("message %q", n.ended[want])
		}
		delete(n.ended, want)
		kept := n.pods[:0]
		for _, p := range n.pods {
			if p.Name != want {
				kept = append(kept, p)
			}
		}
		n.pods = kept
	}
	if err := m.Check(t.Context()); err != nil || len(n.ended) != 0 {
		t.Errorf("only a critical pod is left: %v, ended %v", err, n.ended)
	}
}

func TestPressureLastsAndKeepsPodsAway(t *testing.T) {
	n := &node{signals: healthy()}
	m := n.manager()
	n.signals.Memory = 0
	if err := m.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.signals = healthy()
	n.now = n.now.Add(4 * time.Minute)
	if p, err := m.Pressure(); err != nil || !p.Memory || p.Disk {
		t.Errorf("four minutes later: %+v, %v", p, err)
	}
	tolerant := pod("tolerant", 0, "")
	tolerant.Spec.Tolerations = []corev1.Toleration{{Key: corev1.TaintNodeMemoryPressure, Operator: corev1.TolerationOpExists}}
	for p, want := range map[*corev1.Pod]string{
		pod("besteffort", 0, ""): "The node had condition: [MemoryPressure]. ", pod("burstable", 0, "1Mi"): "",
		pod("vital", systemCritical, ""): "", tolerant: "",
	} {
		if got := m.Refuse(p); got != want {
			t.Errorf("%s: %q, want %q", p.Name, got, want)
		}
	}
	n.now = n.now.Add(2 * time.Minute)
	if p, err := m.Pressure(); err != nil || p.Memory {
		t.Errorf("six minutes later: %+v, %v", p, err)
	}
	if n.changes != 1 {
		t.Errorf("told %d changes, want 1", n.changes)
	}
}

func TestSoftThresholdsHavePatience(t *testing.T) {
	n := &node{signals: healthy(), use: map[types.UID]uint64{"a": 50}, pods: []*corev1.Pod{pod("a", 0, "")}, soft: Soft{
		Thresholds: nodestatus.Thresholds{Memory: nodestatus.Threshold{Amount: 500 << 20}},
		After:      map[corev1.ResourceName]time.Duration{corev1.ResourceMemory: time.Minute}, MaxGrace: 20,
	}}
	m := n.manager()
	check := func(after time.Duration, memory int64, want int) {
		t.Helper()
		n.now, n.signals.Memory = n.now.Add(after), memory
		if err := m.Check(t.Context()); err != nil || len(n.ended) != want {
			t.Fatalf("after %v: %v, ended %v", after, err, n.ended)
		}
	}
	check(0, 400<<20, 0)
	if p, err := m.Pressure(); err != nil || !p.Memory {
		t.Errorf("a soft threshold is passed: %+v, %v", p, err)
	}
	check(50*time.Second, 400<<20, 0)
	check(time.Second, 600<<20, 0) // enough again: the time starts anew
	check(time.Second, 400<<20, 0)
	check(59*time.Second, 400<<20, 0)
	check(time.Second, 400<<20, 1)
	if n.graces[0] != 20 {
		t.Errorf("grace period %d, want the least of the pod's 30 and the configured 20", n.graces[0])
	}
}

func TestDiskPressureFreesImagesFirst(t *testing.T) {
	n := &node{signals: healthy(), pods: []*corev1.Pod{pod("a", 0, ""), pod("b", 0, "")},
		disk: map[types.UID]*Disk{"b": {Containers: map[string]int64{"c": 1 << 30}}}}
	m := n.manager()
	n.signals.Disk = 1 << 30
	n.reclaim = func() { n.signals.Disk = 50 << 30 }
	if err := m.Check(t.Context()); err != nil || len(n.ended) != 0 {
		t.Fatalf("images were enough: %v, ended %v", err, n.ended)
	}
	n.signals.Disk, n.reclaim = 1<<30, nil
	if err := m.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(n.ended["b"], "low on resource: ephemeral-storage") || len(n.ended) != 1 {
		t.Errorf("ended %v", n.ended)
	}
}

func TestLimitsOfLocalStorage(t *testing.T) {
	with := func(name string, change func(*corev1.Pod)) *corev1.Pod { p := pod(name, 0, ""); change(p); return p }
	limit := corev1.ResourceList{corev1.ResourceEphemeralStorage: resource.MustParse("10Mi")}
	size := resource.MustParse("5Mi")
	n := &node{signals: healthy(), pods: []*corev1.Pod{
		with("volume", func(p *corev1.Pod) {
			p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: &size}}}}
		}),
		with("container", func(p *corev1.Pod) { p.Spec.Containers[0].Resources.Limits = limit }),
		with("well", func(p *corev1.Pod) { p.Spec.Containers[0].Resources.Limits = limit }),
		pod("free", 0, ""),
	}, disk: map[types.UID]*Disk{
		"volume":    {Volumes: map[string]int64{"v": 6 << 20}},
		"container": {Containers: map[string]int64{"c": 11 << 20}},
		"well":      {Containers: map[string]int64{"c": 9 << 20}, Volumes: map[string]int64{"m": 9 << 20}, InMemory: map[string]bool{"m": true}},
		"free":      {Containers: map[string]int64{"c": 1 << 40}},
	}}
	if err := n.manager().Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"volume":    `Usage of EmptyDir volume "v" exceeds the limit "5Mi". `,
		"container": `Pod ephemeral local storage usage exceeds the total limit of containers 10Mi. `,
	}
	for name, text := range want {
		if n.ended[name] != text {
			t.Errorf("%s: %q, want %q", name, n.ended[name], text)
		}
	}
	if len(n.ended) != len(want) {
		t.Errorf("ended %v", n.ended)
	}
}

func TestUsageCountsAFileOnce(t *testing.T) {
	dir := t.TempDir()
	if n, err := Usage(dir); err != nil || n != 0 {
		t.Errorf("empty: %d, %v", n, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "a"), make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(filepath.Join(dir, "a"), filepath.Join(dir, "b")); err != nil {
		t.Fatal(err)
	}
	if n, err := Usage(dir); err != nil || n < 1<<20 || n > 1<<20+1<<16 {
		t.Errorf("one file of a mebibyte with two names: %d, %v", n, err)
	}
	if _, err := Usage(filepath.Join(dir, "none")); err == nil {
		t.Error("no error for what is not there")
	}
}
