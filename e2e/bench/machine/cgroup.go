package machine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const cgroups = "/sys/fs/cgroup"

// unified says whether the machine has only the second version of cgroups.
func unified() bool {
	_, err := os.Stat(filepath.Join(cgroups, "cgroup.controllers"))
	return err == nil
}

// groupDir is where the kernel accounts for the time of a cgroup.
func groupDir(name string) string {
	if unified() {
		return filepath.Join(cgroups, name)
	}
	return filepath.Join(cgroups, "cpuacct", name)
}

// ensureAccounting mounts the first version's accounting where a machine has left it out.
func ensureAccounting() error {
	if unified() {
		return nil
	}
	dir := filepath.Join(cgroups, "cpuacct")
	if _, err := os.Stat(filepath.Join(dir, "cpuacct.usage")); err != nil {
		return fmt.Errorf("the kernel's accounting of CPU time is not mounted on %s: %w", dir, err)
	}
	return nil
}

// share is the weight of a box's cgroup against what else the machine runs, in the kernel's units of 1024 for a session. Both systems
// get the same, however many processes and sessions they are made of.
const share = 4096

func createGroup(name string) error {
	if err := ensureAccounting(); err != nil {
		return err
	}
	if err := os.MkdirAll(groupDir(name), 0o755); err != nil {
		return err
	}
	if unified() {
		// Where the controller is not delegated the weight cannot be set, and the machine shares as it likes.
		_ = os.WriteFile(filepath.Join(groupDir(name), "cpu.weight"), []byte(strconv.Itoa(100*share/1024)), 0)
		return nil
	}
	if err := os.MkdirAll(shareDir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(shareDir(name), "cpu.shares"), []byte(strconv.Itoa(share)), 0)
}

// shareDir is where the first version of cgroups weighs.
func shareDir(name string) string { return filepath.Join(cgroups, "cpu", name) }

func joinGroup(name string) error {
	dirs := []string{groupDir(name)}
	if !unified() {
		dirs = append(dirs, shareDir(name))
	}
	for _, dir := range dirs {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte("0"), 0); err != nil {
			return err
		}
	}
	return nil
}

// groupTime is the CPU time that a cgroup has used, by processes that ended too.
func groupTime(name string) (time.Duration, error) {
	if !unified() {
		data, err := os.ReadFile(filepath.Join(groupDir(name), "cpuacct.usage"))
		if err != nil {
			return 0, err
		}
		ns, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
		return time.Duration(ns), err
	}
	data, err := os.ReadFile(filepath.Join(groupDir(name), "cpu.stat"))
	if err != nil {
		return 0, err
	}
	for _, line := range strings.Split(string(data), "\n") {
		if v, ok := strings.CutPrefix(line, "usage_usec "); ok {
			us, err := strconv.ParseInt(v, 10, 64)
			return time.Duration(us) * time.Microsecond, err
		}
	}
	return 0, fmt.Errorf("%s has no usage in cpu.stat", name)
}

// groupProcesses are those of a cgroup and of those below it.
func groupProcesses(dir string) ([]int, error) {
	var all []int
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !d.IsDir() {
			return err
		}
		data, err := os.ReadFile(filepath.Join(path, "cgroup.procs"))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, f := range strings.Fields(string(data)) {
			pid, err := strconv.Atoi(f)
			if err != nil {
				return err
			}
			all = append(all, pid)
		}
		return nil
	})
	return all, err
}

// CreateGroupEverywhere makes a cgroup in every hierarchy, as a root for containers.
func CreateGroupEverywhere(name string) error {
	if unified() {
		return os.MkdirAll(filepath.Join(cgroups, name), 0o755)
	}
	all, err := filepath.Glob(filepath.Join(cgroups, "*", "cgroup.procs"))
	if err != nil {
		return err
	}
	for _, f := range all {
		if err := os.MkdirAll(filepath.Join(filepath.Dir(f), name), 0o755); err != nil {
			return err
		}
	}
	return copyCPUSet(name)
}

// copyCPUSet lets a new cgroup of the first version have processes: without processors and memory nodes it may not.
func copyCPUSet(name string) error {
	for _, f := range []string{"cpuset.cpus", "cpuset.mems"} {
		data, err := os.ReadFile(filepath.Join(cgroups, "cpuset", f))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(cgroups, "cpuset", name, f), data, 0); err != nil {
			return err
		}
	}
	return nil
}

// EndGroup kills what is in a cgroup and below and leaves the cgroup.
func EndGroup(name string) error {
	if err := removeGroup(name); err != nil {
		return err
	}
	return CreateGroupEverywhere(name)
}

// removeGroup kills what is in a cgroup, in every hierarchy, and removes it.
func removeGroup(name string) error {
	dirs := []string{filepath.Join(cgroups, name)}
	if !unified() {
		dirs, _ = filepath.Glob(filepath.Join(cgroups, "*", name)) // The pattern is well formed.
	}
	var errs []error
	for _, dir := range dirs {
		errs = append(errs, emptyGroup(dir))
	}
	return errors.Join(errs...)
}

func emptyGroup(dir string) error {
	for tries := 0; ; tries++ {
		pids, err := groupProcesses(dir)
		if err != nil {
			return err
		}
		if len(pids) == 0 {
			break
		}
		if tries == 1000 {
			return fmt.Errorf("processes %v in %s cannot be ended", pids, dir)
		}
		for _, pid := range pids {
			if err := kill(pid); err != nil {
				return fmt.Errorf("ending process %d: %w", pid, err)
			}
		}
	}
	var below []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			below = append(below, path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	errs := []error{err}
	for i := len(below) - 1; i >= 0; i-- {
		if err := os.Remove(below[i]); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// kill ends a process and returns when it is gone.
func kill(pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return err
	}
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(poll, int(deadline.Milliseconds()))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err == nil && n == 0 {
			return errors.New("it does not end")
		}
		return err
	}
}
