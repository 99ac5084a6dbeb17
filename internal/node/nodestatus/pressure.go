package nodestatus

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Pressure is what the node runs short of.
type Pressure struct{ Memory, Disk, PID bool }

// Thresholds below which there is pressure.
type Thresholds struct {
	MemoryAvailable int64   // bytes
	DiskAvailable   float64 // part of the filesystem, 0 to 1
	InodesFree      float64
	PIDsFree        float64
}

// DefaultThresholds are upstream's hard eviction thresholds.
func DefaultThresholds() Thresholds {
	return Thresholds{MemoryAvailable: 100 << 20, DiskAvailable: 0.10, InodesFree: 0.05}
}

// ReadPressure measures the machine.
func ReadPressure(rootDir string, t Thresholds) (Pressure, error) {
	var p Pressure
	mem, err := meminfo()
	if err != nil {
		return p, err
	}
	p.Memory = mem["MemAvailable"] < t.MemoryAvailable
	var st unix.Statfs_t
	if err := unix.Statfs(rootDir, &st); err != nil {
		return p, err
	}
	p.Disk = float64(st.Bavail) < t.DiskAvailable*float64(st.Blocks) || st.Files > 0 && float64(st.Ffree) < t.InodesFree*float64(st.Files)
	if t.PIDsFree > 0 {
		used, limit, err := pids()
		if err != nil {
			return p, err
		}
		p.PID = float64(limit-used) < t.PIDsFree*float64(limit)
	}
	return p, nil
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
