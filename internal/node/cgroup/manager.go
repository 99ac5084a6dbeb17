// Package cgroup keeps the cgroups of pods, by plain files, for both versions of the kernel's interface.
//
// The tree is upstream's for the cgroupfs driver, below a configurable parent:
//
//	<parent>/kubepods/pod<uid>               guaranteed pods
//	<parent>/kubepods/burstable/pod<uid>     burstable pods
//	<parent>/kubepods/besteffort/pod<uid>    best-effort pods
//
// and the runtime makes a cgroup for each container below the pod's. A pod's cgroup has the sum of what its containers ask for as
// CPU shares and, where every container has a limit, the sum of the limits (KEP-1287, KEP-2837; overhead
// included). The burstable cgroup's shares follow the requests of the pods in it.
//
// Calls work at once and return when the kernel has taken the values. All are safe for concurrent use; calls for
// one pod must not overlap.
package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Config of a Manager.
type Config struct {
	// Parent is the cgroup under which kubepods lies, "/" by default. It is made when it is missing.
	Parent string
	// NoCPUQuota leaves CPU limits to the shares (--cpu-cfs-quota=false).
	NoCPUQuota bool
	// CPUPeriod is the length of a CFS period, 100 ms by default (--cpu-cfs-quota-period).
	CPUPeriod time.Duration
	// PodPIDs bounds the processes of each pod; 0 or less is no bound (--pod-max-pids).
	PodPIDs int64
}

// Manager keeps the tree.
type Manager struct {
	cfg  Config
	h    *Hierarchy
	root string // <parent>/kubepods

	mu        sync.Mutex
	requested map[types.UID]int64 // thousandths of a core that each burstable pod asks for
}

var classes = map[corev1.PodQOSClass]string{
	corev1.PodQOSGuaranteed: "", corev1.PodQOSBurstable: "burstable", corev1.PodQOSBestEffort: "besteffort",
}

// New makes the top of the tree.
func New(cfg Config) (*Manager, error) {
	h, err := Detect()
	if err != nil {
		return nil, err
	}
	return newManager(cfg, h)
}

func newManager(cfg Config, h *Hierarchy) (*Manager, error) {
	if cfg.CPUPeriod == 0 {
		cfg.CPUPeriod = 100 * time.Millisecond
	}
	if cfg.CPUPeriod < time.Millisecond || cfg.CPUPeriod > time.Second {
		return nil, fmt.Errorf("CPU period %v is not within 1ms and 1s", cfg.CPUPeriod)
	}
	m := &Manager{cfg: cfg, h: h, root: path.Join("/", cfg.Parent, "kubepods"), requested: map[types.UID]int64{}}
	for _, class := range classes {
		if err := h.Create(path.Join(m.root, class)); err != nil {
			return nil, err
		}
	}
	return m, h.apply(path.Join(m.root, "besteffort"), Limits{CPUShares: minShares})
}

// Root is the cgroup of all pods.
func (m *Manager) Root() string { return m.root }

// V2 tells which version of the interface the machine uses.
func (m *Manager) V2() bool { return m.h.V2 }

// Parent is the pod's cgroup, the cgroup_parent that the CRI wants.
func (m *Manager) Parent(pod *corev1.Pod) string {
	return path.Join(m.root, classes[QoS(pod)], "pod"+string(pod.UID))
}

// Ensure makes the pod's cgroup, or brings its limits up to date, and gives its name for the CRI.
func (m *Manager) Ensure(pod *corev1.Pod) (string, error) {
	cg := m.Parent(pod)
	if err := m.h.Create(cg); err != nil {
		return "", fmt.Errorf("cgroup of pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	if err := m.h.apply(cg, m.limits(pod)); err != nil {
		return "", fmt.Errorf("cgroup of pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	if QoS(pod) != corev1.PodQOSBurstable {
		return cg, nil
	}
	return cg, m.request(pod.UID, requestedCPU(pod))
}

// request notes what a burstable pod asks for (less than 0: it is gone) and sets the shares of its class.
func (m *Manager) request(uid types.UID, milli int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	old, had := m.requested[uid]
	if had == (milli >= 0) && old == milli || !had && milli < 0 {
		return nil
	}
	m.requested[uid] = milli
	if milli < 0 {
		delete(m.requested, uid)
	}
	sum := int64(0)
	for _, r := range m.requested {
		sum += r
	}
	return m.h.apply(path.Join(m.root, "burstable"), Limits{CPUShares: shares(sum)})
}

// SetAllocatable bounds all pods together to what the node gives them (enforceNodeAllocatable). Zero fields bound nothing.
func (m *Manager) SetAllocatable(milliCPU, memory, pids int64) error {
	l := Limits{CPUShares: shares(milliCPU), Memory: memory, PIDs: pids}
	if milliCPU == 0 {
		l.CPUShares = 0
	}
	return m.h.apply(m.root, l)
}

// removeTimeout bounds how long processes may take to end when they are killed.
const removeTimeout = 30 * time.Second

// Remove kills what is left in a pod's cgroup and removes it. One that is not there is no error.
func (m *Manager) Remove(uid types.UID) error {
	ctx, cancel := context.WithTimeout(context.Background(), removeTimeout)
	defer cancel()
	var errs []error
	for _, class := range classes {
		cg := path.Join(m.root, class, "pod"+string(uid))
		if m.h.Exists(cg) {
			errs = append(errs, m.h.Destroy(ctx, cg))
		}
	}
	return errors.Join(append(errs, m.request(uid, -1))...)
}

// Pods lists the pods that have a cgroup.
func (m *Manager) Pods() ([]types.UID, error) {
	seen := map[types.UID]bool{}
	var uids []types.UID
	for _, class := range classes {
		for _, d := range m.h.dirs(path.Join(m.root, class)) {
			entries, err := os.ReadDir(d)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("cgroups of pods: %w", err)
			}
			for _, e := range entries {
				uid := types.UID(strings.TrimPrefix(e.Name(), "pod"))
				if e.IsDir() && string(uid) != e.Name() && !seen[uid] {
					seen[uid] = true
					uids = append(uids, uid)
				}
			}
		}
	}
	return uids, nil
}

// Destroy removes the whole tree and kills what is in it.
func (m *Manager) Destroy(ctx context.Context) error { return m.h.Destroy(ctx, m.root) }

// find is the cgroup of a pod, whatever its class.
func (m *Manager) find(uid types.UID) (string, bool) {
	for _, class := range classes {
		cg := path.Join(m.root, class, "pod"+string(uid))
		if m.h.Exists(cg) {
			return cg, true
		}
	}
	return "", false
}

// container is the cgroup of a container of a pod; id may have the runtime's prefix ("containerd://").
func container(pod, id string) string {
	if _, bare, ok := strings.Cut(id, "://"); ok {
		id = bare
	}
	return filepath.Join(pod, id)
}
