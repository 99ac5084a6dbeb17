package nodestatus

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
)

// Pressure is what the node runs short of.
type Pressure struct{ Memory, Disk, PID bool }

// Threshold is an amount, or a part of the whole from 0 to 1. The zero value is never reached.
type Threshold struct {
	Amount int64
	Part   float64
}

// Of is the threshold as an amount.
func (t Threshold) Of(whole int64) int64 {
	if t.Amount > 0 {
		return t.Amount
	}
	return int64(t.Part * float64(whole))
}

// Thresholds of what is left, below which there is pressure.
type Thresholds struct{ Memory, Disk, Inodes, PIDs Threshold }

// DefaultThresholds are upstream's hard eviction thresholds.
func DefaultThresholds() Thresholds {
	return Thresholds{Memory: Threshold{Amount: 100 << 20}, Disk: Threshold{Part: 0.10}, Inodes: Threshold{Part: 0.05}}
}

// What a node can run short of besides memory and storage, as messages name it.
const (
	Inodes corev1.ResourceName = "inodes"
	PIDs   corev1.ResourceName = "pids"
)

// Signals is what is left of the machine.
type Signals struct {
	Memory, MemoryAll int64 // bytes
	Disk, DiskSize    int64 // bytes
	Inodes, InodesAll int64 // 0 of 0 where the filesystem has no fixed number
	PIDs, PIDsAll     int64
}

// Shortage is a resource below its threshold.
type Shortage struct {
	Condition            corev1.NodeConditionType
	Resource             corev1.ResourceName
	Threshold, Available int64
}

// ReadSignals measures the machine; the disk is that of rootDir.
func ReadSignals(rootDir string) (Signals, error) {
	var s Signals
	mem, err := meminfo()
	if err != nil {
		return s, err
	}
	s.Memory, s.MemoryAll = mem["MemAvailable"], mem["MemTotal"]
	var st unix.Statfs_t
	if err := unix.Statfs(rootDir, &st); err != nil {
		return s, err
	}
	s.Disk, s.DiskSize = int64(st.Bavail)*st.Bsize, int64(st.Blocks)*st.Bsize
	s.Inodes, s.InodesAll = int64(st.Ffree), int64(st.Files)
	used, limit, err := pids()
	s.PIDs, s.PIDsAll = limit-used, limit
	return s, err
}

// Below lists what is short, memory first.
func (s Signals) Below(t Thresholds) []Shortage {
	var out []Shortage
	add := func(c corev1.NodeConditionType, r corev1.ResourceName, threshold, available int64) {
		if available < threshold {
			out = append(out, Shortage{c, r, threshold, available})
		}
	}
	add(corev1.NodeMemoryPressure, corev1.ResourceMemory, t.Memory.Of(s.MemoryAll), s.Memory)
	add(corev1.NodeDiskPressure, corev1.ResourceEphemeralStorage, t.Disk.Of(s.DiskSize), s.Disk)
	add(corev1.NodeDiskPressure, Inodes, t.Inodes.Of(s.InodesAll), s.Inodes)
	add(corev1.NodePIDPressure, PIDs, t.PIDs.Of(s.PIDsAll), s.PIDs)
	return out
}

// pids counts the threads of the machine and the number there may be.
func pids() (used, limit int64, err error) {
	load, err := os.ReadFile("/proc/loadavg") // "0.1 0.2 0.3 running/total last"
	if err != nil {
		return 0, 0, err
	}
	f := strings.Fields(string(load))
	if len(f) > 3 {
		if _, total, ok := strings.Cut(f[3], "/"); ok {
			if used, err = strconv.ParseInt(total, 10, 64); err != nil {
				return 0, 0, err
			}
		}
	}
	text, err := os.ReadFile("/proc/sys/kernel/pid_max")
	if err != nil {
		return 0, 0, err
	}
	limit, err = strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return used, limit, err
}
