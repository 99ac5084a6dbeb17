package cgroup

import (
	"bufio"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// Stats is what a cgroup and all below it use.
type Stats struct {
	Time time.Time
	// CPUNanoseconds is the CPU time used since the cgroup was made.
	CPUNanoseconds uint64
	// CPUPeriods are those of the quota that passed while it wanted to run, ThrottledPeriods those of them in which it used up its
	// quota, ThrottledNanoseconds how long it then waited. All are 0 without a quota.
	CPUPeriods, ThrottledPeriods, ThrottledNanoseconds uint64
	// MemoryUsage counts all memory, the page cache included; MemoryWorkingSet leaves out file pages not used of late and
	// is what eviction looks at; MemoryRSS is anonymous memory. All in bytes.
	MemoryUsage, MemoryWorkingSet, MemoryRSS uint64
	// MemoryCache is the page cache, MemoryPeak the most that was ever used; the kernel does not always tell it.
	MemoryCache, MemoryPeak uint64
	// MemoryLimit is 0 without a limit.
	MemoryLimit uint64
	// SwapUsage in bytes.
	SwapUsage uint64
	// PageFaults since the cgroup was made; major ones read from disk.
	PageFaults, MajorPageFaults uint64
	// Processes counts tasks, as the pids controller does.
	Processes uint64
	// OOMKills counts processes that the kernel killed for lack of memory.
	OOMKills uint64
}

// ErrNotFound is returned for a cgroup that is not there (any more).
var ErrNotFound = errors.New("cgroup not found")

// PodStats is the use of a pod, its sandbox included.
func (m *Manager) PodStats(uid types.UID) (*Stats, error) {
	cg, ok := m.find(uid)
	if !ok {
		return nil, ErrNotFound
	}
	return m.h.Stats(cg)
}

// ContainerStats is the use of one container; id is the runtime's, with or without "containerd://".
func (m *Manager) ContainerStats(uid types.UID, id string) (*Stats, error) {
	cg, ok := m.find(uid)
	if !ok {
		return nil, ErrNotFound
	}
	return m.h.Stats(container(cg, id))
}

// AllPodsStats is the use of all pods together.
func (m *Manager) AllPodsStats() (*Stats, error) { return m.h.Stats(m.root) }

// MachineStats is the use of the whole machine.
func (m *Manager) MachineStats() (*Stats, error) { return m.h.Stats("/") }

// Stats reads the use of any cgroup.
func (h *Hierarchy) Stats(cg string) (*Stats, error) {
	if !h.Exists(cg) {
		return nil, ErrNotFound
	}
	s := &Stats{Time: time.Now()}
	read := h.statsV1
	if h.V2 {
		read = h.statsV2
	}
	if err := read(cg, s); err != nil {
		if gone(err) {
			return nil, ErrNotFound
		}
		return nil, fmt.Errorf("use of cgroup %s: %w", cg, err)
	}
	return s, nil
}

func (h *Hierarchy) statsV2(cg string, s *Stats) error {
	dir := h.dir("", cg)
	cpu, err := table(filepath.Join(dir, "cpu.stat"))
	if err != nil {
		return err
	}
	s.CPUNanoseconds = cpu["usage_usec"] * 1000
	s.CPUPeriods, s.ThrottledPeriods, s.ThrottledNanoseconds = cpu["nr_periods"], cpu["nr_throttled"], cpu["throttled_usec"]*1000
	memory, err := table(filepath.Join(dir, "memory.stat"))
	if err != nil {
		return optional(err)
	}
	s.MemoryRSS, s.MemoryCache = memory["anon"], memory["file"]
	s.PageFaults, s.MajorPageFaults = memory["pgfault"], memory["pgmajfault"]
	if s.MemoryUsage, err = number(filepath.Join(dir, "memory.current")); gone(err) { // The root has none.
		if s.MemoryUsage, err = usedMemory(); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	s.MemoryWorkingSet = less(s.MemoryUsage, memory["inactive_file"])
	limit, err := number(filepath.Join(dir, "memory.max"))
	s.MemoryLimit = unlessHuge(limit)
	peak, peakErr := number(filepath.Join(dir, "memory.peak"))
	s.MemoryPeak = peak
	swap, swapErr := number(filepath.Join(dir, "memory.swap.current"))
	s.SwapUsage = swap
	events, eventsErr := table(filepath.Join(dir, "memory.events"))
	s.OOMKills = events["oom_kill"]
	pids, pidsErr := number(filepath.Join(dir, "pids.current"))
	s.Processes = pids
	return errors.Join(optional(err), optional(peakErr), optional(swapErr), optional(eventsErr), optional(pidsErr))
}

func (h *Hierarchy) statsV1(cg string, s *Stats) error {
	var err error
	if d := h.dir("cpuacct", cg); d != "" {
		if s.CPUNanoseconds, err = number(filepath.Join(d, "cpuacct.usage")); optional(err) != nil {
			return err
		}
	}
	if d := h.dir("cpu", cg); d != "" {
		cpu, err := table(filepath.Join(d, "cpu.stat"))
		if optional(err) != nil {
			return err
		}
		s.CPUPeriods, s.ThrottledPeriods, s.ThrottledNanoseconds = cpu["nr_periods"], cpu["nr_throttled"], cpu["throttled_time"]
	}
	if d := h.dir("memory", cg); d != "" {
		memory, err := table(filepath.Join(d, "memory.stat"))
		if err != nil {
			return err
		}
		s.MemoryRSS, s.MemoryCache = memory["total_rss"], memory["total_cache"]
		if s.MemoryPeak, err = number(filepath.Join(d, "memory.max_usage_in_bytes")); optional(err) != nil {
			return err
		}
		s.PageFaults, s.MajorPageFaults = memory["total_pgfault"], memory["total_pgmajfault"]
		s.SwapUsage = memory["total_swap"]
		if s.MemoryUsage, err = number(filepath.Join(d, "memory.usage_in_bytes")); err != nil {
			return err
		}
		s.MemoryWorkingSet = less(s.MemoryUsage, memory["total_inactive_file"])
		limit, err := number(filepath.Join(d, "memory.limit_in_bytes"))
		if err != nil {
			return err
		}
		s.MemoryLimit = unlessHuge(limit)
		control, err := table(filepath.Join(d, "memory.oom_control"))
		if optional(err) != nil {
			return err
		}
		s.OOMKills = control["oom_kill"]
	}
	if d := h.dir("pids", cg); d != "" {
		if s.Processes, err = number(filepath.Join(d, "pids.current")); optional(err) != nil {
			return err
		}
	}
	return nil
}

// optional forgives files that the root cgroup or older kernels lack.
func optional(err error) error {
	if gone(err) {
		return nil
	}
	return err
}

func less(a, b uint64) uint64 { return a - min(a, b) }

// unlessHuge maps "max" and v1's largest page-aligned number to 0.
func unlessHuge(limit uint64) uint64 {
	if limit >= math.MaxInt64-1<<20 {
		return 0
	}
	return limit
}

// number reads a file with one number; "max" is the largest.
func number(path string) (uint64, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	word := strings.TrimSpace(string(text))
	if word == "max" {
		return math.MaxUint64, nil
	}
	n, err := strconv.ParseUint(word, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return n, nil
}

// table reads a file of lines "name number"; other lines are left out.
func table(path string) (map[string]uint64, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	out := map[string]uint64{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		name, value, ok := strings.Cut(lines.Text(), " ")
		if n, err := strconv.ParseUint(strings.TrimSpace(value), 10, 64); ok && err == nil {
			out[name] = n
		}
	}
	return out, lines.Err()
}

// usedMemory is the machine's, as the root cgroup of v1 would say it.
func usedMemory() (uint64, error) {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	kb := map[string]uint64{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ":")
		if fields := strings.Fields(value); len(fields) > 0 {
			if n, err := strconv.ParseUint(fields[0], 10, 64); err == nil {
				kb[name] = n
			}
		}
	}
	return less(kb["MemTotal"], kb["MemFree"]) * 1024, lines.Err()
}
