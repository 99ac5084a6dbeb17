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

func createGroup(name string) error {
	if err := ensureAccounting(); err != nil {
		return err
	}
	return os.MkdirAll(groupDir(name), 0o755)
}

func joinGroup(name string) error {
	return os.WriteFile(filepath.Join(groupDir(name), "cgroup.procs"), []byte("0"), 0)
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
