package nodestatus

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Machine is what does not change while the kubelet runs.
type Machine struct {
	CPUs      int
	Memory    int64           // bytes
	Hugepages map[int64]int64 // total bytes by page size
	Storage   int64           // bytes of the filesystem of the root directory
	Info      corev1.NodeSystemInfo
}

// ReadMachine reads them from /proc, /sys and /etc.
func ReadMachine(rootDir string) (*Machine, error) {
	m := &Machine{CPUs: runtime.NumCPU(), Hugepages: map[int64]int64{}}
	mem, err := meminfo()
	if err != nil {
		return nil, err
	}
	m.Memory = mem["MemTotal"]
	if m.Hugepages, err = hugepages(); err != nil {
		return nil, err
	}
	var st unix.Statfs_t
	if err := unix.Statfs(rootDir, &st); err != nil {
		return nil, fmt.Errorf("filesystem of %s: %w", rootDir, err)
	}
	m.Storage = int64(st.Blocks) * st.Bsize
	m.Info = corev1.NodeSystemInfo{
		MachineID: firstFile("/etc/machine-id", "/var/lib/dbus/machine-id"), SystemUUID: firstFile("/sys/class/dmi/id/product_uuid", "/etc/machine-id"),
		BootID: firstFile("/proc/sys/kernel/random/boot_id"), OSImage: osImage(),
		OperatingSystem: runtime.GOOS, Architecture: runtime.GOARCH,
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return nil, err
	}
	m.Info.KernelVersion = string(u.Release[:bytes.IndexByte(u.Release[:], 0)])
	if total, used := mem["SwapTotal"], mem["SwapTotal"]-mem["SwapFree"]; used >= 0 {
		m.Info.Swap = &corev1.NodeSwapStatus{Capacity: &total}
	}
	return m, nil
}

// SwapOn says whether the machine swaps.
func (m *Machine) SwapOn() bool {
	return m.Info.Swap != nil && m.Info.Swap.Capacity != nil && *m.Info.Swap.Capacity > 0
}

// HugepageSizes as the hugetlb cgroup names them.
func HugepageSizes(m *Machine, name func(int64) string) []string {
	var out []string
	for size := range m.Hugepages {
		out = append(out, name(size))
	}
	return out
}

// Capacity is what the machine has.
func (m *Machine) Capacity(maxPods int64) corev1.ResourceList {
	l := corev1.ResourceList{
		corev1.ResourceCPU:              *resource.NewQuantity(int64(m.CPUs), resource.DecimalSI),
		corev1.ResourceMemory:           *resource.NewQuantity(m.Memory, resource.BinarySI),
		corev1.ResourceEphemeralStorage: *resource.NewQuantity(m.Storage, resource.BinarySI),
		corev1.ResourcePods:             *resource.NewQuantity(maxPods, resource.DecimalSI),
	}
	for size, total := range m.Hugepages {
		name := corev1.ResourceHugePagesPrefix + resource.NewQuantity(size, resource.BinarySI).String()
		l[corev1.ResourceName(name)] = *resource.NewQuantity(total, resource.BinarySI)
	}
	return l
}

// Allocatable is what is left for pods after what is reserved for the system and the kubelet, and
// what must stay free lest pods be evicted.
func Allocatable(capacity corev1.ResourceList, reserved ...corev1.ResourceList) corev1.ResourceList {
	out := corev1.ResourceList{}
	for name, q := range capacity {
		left := q.DeepCopy()
		for _, r := range reserved {
			if v, ok := r[name]; ok {
				left.Sub(v)
			}
		}
		if left.Sign() < 0 {
			left.Set(0)
		}
		out[name] = left
	}
	for name, q := range out {
		if strings.HasPrefix(string(name), corev1.ResourceHugePagesPrefix) {
			mem := out[corev1.ResourceMemory]
			mem.Sub(q)
			if mem.Sign() < 0 {
				mem.Set(0)
			}
			out[corev1.ResourceMemory] = mem
		}
	}
	return out
}

// meminfo reads /proc/meminfo, in bytes.
func meminfo() (map[string]int64, error) {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	out := map[string]int64{}
	s := bufio.NewScanner(f)
	for s.Scan() {
		name, rest, ok := strings.Cut(s.Text(), ":")
		fields := strings.Fields(rest)
		if !ok || len(fields) == 0 {
			continue
		}
		n, err := strconv.ParseInt(fields[0], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("/proc/meminfo: %s: %w", name, err)
		}
		if len(fields) > 1 && fields[1] == "kB" {
			n *= 1024
		}
		out[name] = n
	}
	return out, s.Err()
}

func hugepages() (map[int64]int64, error) {
	const dir = "/sys/kernel/mm/hugepages"
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return map[int64]int64{}, nil
	}
	if err != nil {
		return nil, err
	}
	out := map[int64]int64{}
	for _, e := range entries {
		kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimPrefix(e.Name(), "hugepages-"), "kB"), 10, 64)
		if err != nil {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name(), "nr_hugepages"))
		if err != nil {
			return nil, err
		}
		n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		if err != nil {
			return nil, err
		}
		out[kb*1024] = n * kb * 1024
	}
	return out, nil
}

func firstFile(paths ...string) string {
	for _, p := range paths {
		if b, err := os.ReadFile(p); err == nil {
			if s := strings.TrimSpace(string(b)); s != "" {
				return s
			}
		}
	}
	return ""
}

func osImage() string {
	b, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return "Linux"
	}
	for _, line := range strings.Split(string(b), "\n") {
		if v, ok := strings.CutPrefix(line, "PRETTY_NAME="); ok {
			return strings.Trim(v, `"'`)
		}
	}
	return "Linux"
}
