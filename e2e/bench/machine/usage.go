package machine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Memory of a system: what its processes would give back if they ended, shared pages divided among those who share them.
type Memory struct {
	PSS, Anonymous, File int64 // bytes
	Processes            int
}

// Memory of the processes of the system; with words, only of those whose command line has one of them.
func (b *Box) Memory(words ...string) (Memory, error) {
	var m Memory
	err := b.each(func(pid int) error {
		line, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
		if err != nil {
			return err
		}
		if len(words) > 0 && !slices.ContainsFunc(words, func(w string) bool { return strings.Contains(string(line), w) }) {
			return nil
		}
		fields, err := colonFile(pid, "smaps_rollup")
		if err != nil {
			return err
		}
		m.Processes++
		m.PSS += fields["Pss"] << 10
		m.Anonymous += fields["Pss_Anon"] << 10
		m.File += fields["Pss_File"] << 10
		return nil
	})
	return m, err
}

// CPU is the time that the system has used since the box was made, by the kernel's accounting.
func (b *Box) CPU() (time.Duration, error) { return groupTime(b.systemGroup()) }

// LoadCPU is the time that the load has used since then.
func (b *Box) LoadCPU() (time.Duration, error) { return groupTime(b.clientGroup()) }

// Written is what the system's living processes have handed to the disk.
func (b *Box) Written() (int64, error) {
	var sum int64
	err := b.each(func(pid int) error {
		fields, err := colonFile(pid, "io")
		sum += fields["write_bytes"]
		return err
	})
	return sum, err
}

// each calls f for every process of the system; one that ends meanwhile is left out.
func (b *Box) each(f func(pid int) error) error {
	pids, err := groupProcesses(groupDir(b.systemGroup()))
	if err != nil {
		return err
	}
	for _, pid := range pids {
		if err := f(pid); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("process %d: %w", pid, err)
		}
	}
	return nil
}

// colonFile reads a file of /proc with a name, a colon and a number on each line.
func colonFile(pid int, name string) (map[string]int64, error) {
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), name))
	if err != nil {
		return nil, err
	}
	out := map[string]int64{}
	for _, line := range strings.Split(string(data), "\n") {
		key, rest, ok := strings.Cut(line, ":")
		if f := strings.Fields(rest); ok && len(f) > 0 {
			if v, err := strconv.ParseInt(f[0], 10, 64); err == nil {
				out[key] = v
			}
		}
	}
	return out, nil
}

// Load is the machine's load average over a minute.
func Load() float64 {
	data, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return -1
	}
	v, err := strconv.ParseFloat(strings.Fields(string(data))[0], 64)
	if err != nil {
		return -1
	}
	return v
}
