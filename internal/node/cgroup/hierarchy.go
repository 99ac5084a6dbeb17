package cgroup

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Hierarchy is where the machine mounted its cgroups: one tree (v2) or one for each controller (v1,
// with or without an extra v2 tree that has no controllers).
type Hierarchy struct {
	// V2 tells that the one tree of v2 has the controllers.
	V2 bool
	// unified is v2's mount point, also beside v1's; empty when there is none.
	unified string
	// controllers has v1's mount points by controller; name=systemd and its like are under their full option.
	controllers map[string]string
}

// Detect finds the hierarchy of the machine.
func Detect() (*Hierarchy, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("cgroup mounts: %w", err)
	}
	defer f.Close()
	h := &Hierarchy{controllers: map[string]string{}}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		h.addMount(lines.Text())
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("cgroup mounts: %w", err)
	}
	if h.unified == "" && len(h.controllers) == 0 {
		return nil, errors.New("no cgroup hierarchy is mounted")
	}
	h.V2 = h.controllers["cpu"] == "" && h.controllers["memory"] == "" && h.unified != ""
	return h, nil
}

// addMount takes one line of mountinfo: "36 35 98:0 / /mnt rw shared:1 - type source options".
func (h *Hierarchy) addMount(line string) {
	left, right, ok := strings.Cut(line, " - ")
	fields, super := strings.Fields(left), strings.Fields(right)
	if !ok || len(fields) < 5 || len(super) < 3 {
		return
	}
	point := fields[4]
	switch super[0] {
	case "cgroup2":
		if h.unified == "" {
			h.unified = point
		}
	case "cgroup":
		for _, o := range strings.Split(super[2], ",") {
			if o == "rw" || o == "ro" || o == "xattr" || o == "clone_children" || strings.HasPrefix(o, "release_agent=") || h.controllers[o] != "" {
				continue
			}
			h.controllers[o] = point
		}
	}
}

// dirs are all directories that stand for a cgroup, one for each tree.
func (h *Hierarchy) dirs(cg string) []string {
	points := []string{}
	if h.unified != "" {
		points = append(points, h.unified)
	}
	for _, p := range h.controllers {
		points = append(points, p)
	}
	slices.Sort(points)
	points = slices.Compact(points)
	for i, p := range points {
		points[i] = filepath.Join(p, cg)
	}
	return points
}

// dir is the directory of a cgroup for a controller; empty when the machine lacks the controller.
func (h *Hierarchy) dir(controller, cg string) string {
	if h.V2 {
		return filepath.Join(h.unified, cg)
	}
	p := h.controllers[controller]
	if p == "" {
		return ""
	}
	return filepath.Join(p, cg)
}

// Exists tells whether a cgroup is there in any tree.
func (h *Hierarchy) Exists(cg string) bool {
	return slices.ContainsFunc(h.dirs(cg), func(d string) bool {
		_, err := os.Stat(d)
		return err == nil
	})
}

// limited are the controllers by which pods are bounded.
var limited = []string{"cpu", "memory", "pids"}

// Create makes a cgroup and its parents for the controllers of [Manager]. One that exists is left as it is.
func (h *Hierarchy) Create(cg string) error {
	if h.V2 {
		return h.createV2(cg)
	}
	made := map[string]bool{}
	for _, c := range limited {
		d := h.dir(c, cg)
		if d == "" || made[d] {
			continue
		}
		made[d] = true
		if err := os.MkdirAll(d, 0o755); err != nil {
			return fmt.Errorf("making cgroup: %w", err)
		}
	}
	return nil
}

// createV2 makes the directories from the top and hands down every controller that a parent has.
func (h *Hierarchy) createV2(cg string) error {
	at := h.unified
	for _, name := range strings.Split(strings.Trim(cg, "/"), "/") {
		if name == "" {
			continue
		}
		if err := handDown(at); err != nil {
			return err
		}
		at = filepath.Join(at, name)
		if err := os.Mkdir(at, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("making cgroup: %w", err)
		}
	}
	return handDown(at)
}

// handDown enables a cgroup's controllers for its children. Each is written on its own: one that the kernel refuses
// (cpu, while real-time tasks exist) must not take the others with it, unless pods are bounded by it.
func handDown(dir string) error {
	have, err := words(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return fmt.Errorf("cgroup controllers: %w", err)
	}
	on, err := words(filepath.Join(dir, "cgroup.subtree_control"))
	if err != nil {
		return fmt.Errorf("cgroup controllers: %w", err)
	}
	for _, c := range have {
		if slices.Contains(on, c) {
			continue
		}
		err := write(dir, "cgroup.subtree_control", "+"+c)
		if err != nil && slices.Contains(limited, c) {
			return fmt.Errorf("handing down cgroup controller %s: %w", c, err)
		}
	}
	return nil
}

func words(path string) ([]string, error) {
	text, err := os.ReadFile(path)
	return strings.Fields(string(text)), err
}

// write sets a file of a cgroup. It never creates the file: one that is missing is an error.
func write(dir, file, value string) error {
	f, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

// Destroy kills all processes in a cgroup and below and removes it from every tree. One that does not exist is no
// error. It returns an error when ctx ends before all processes have.
func (h *Hierarchy) Destroy(ctx context.Context, cg string) error {
	if clean := strings.Trim(filepath.Clean("/"+cg), "/"); clean == "" {
		return errors.New("the root cgroup cannot be destroyed")
	}
	for {
		if err := h.kill(ctx, cg); err != nil {
			return fmt.Errorf("ending the processes of cgroup %s: %w", cg, err)
		}
		var busy error
		for _, d := range h.dirs(cg) {
			if err := removeTree(d); err != nil {
				busy = errors.Join(busy, err)
			}
		}
		if busy == nil {
			return nil
		}
		if !errors.Is(busy, syscall.EBUSY) && !errors.Is(busy, syscall.ENOTEMPTY) {
			return fmt.Errorf("removing cgroup: %w", busy)
		}
		select { // The kernel lets go of a dead process's cgroup a moment after its end, and tells nobody.
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("removing cgroup: %w", errors.Join(busy, context.Cause(ctx)))
		}
	}
}

// kill ends what is in the cgroup, again and again while new processes come to light.
func (h *Hierarchy) kill(ctx context.Context, cg string) error {
	if h.unified != "" {
		// Kills the whole tree at once, forks included; kernels before 5.14 lack the file.
		if err := write(filepath.Join(h.unified, cg), "cgroup.kill", "1"); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.EOPNOTSUPP) {
			return err
		}
	}
	if d := h.dir("pids", cg); d != "" && !h.V2 {
		if err := write(d, "pids.max", "1"); err != nil && !errors.Is(err, fs.ErrNotExist) { // No new forks.
			return err
		}
	}
	for {
		pids, err := h.Processes(cg)
		if err != nil || len(pids) == 0 {
			return err
		}
		for _, pid := range pids {
			if err := killAndWait(ctx, pid); err != nil {
				return err
			}
		}
	}
}

// Processes lists the processes in a cgroup and below, of all trees.
func (h *Hierarchy) Processes(cg string) ([]int, error) {
	var pids []int
	for _, top := range h.dirs(cg) {
		err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil || !d.IsDir() {
				return err
			}
			list, err := words(filepath.Join(path, "cgroup.procs"))
			// A threaded cgroup of v2 has no list of processes: its domain's has them.
			if err != nil && !gone(err) && !errors.Is(err, syscall.EOPNOTSUPP) {
				return err
			}
			for _, w := range list {
				if pid, err := strconv.Atoi(w); err == nil && pid > 0 {
					pids = append(pids, pid)
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(pids)
	return slices.Compact(pids), nil
}

func gone(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENODEV) }

// killAndWait ends a process and waits until it has. The handle keeps the number from meaning another process meanwhile.
func killAndWait(ctx context.Context, pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, syscall.ESRCH) || errors.Is(err, syscall.EINVAL) { // EINVAL: a thread's number.
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 100)
		if n > 0 {
			return nil
		}
		if err != nil && !errors.Is(err, syscall.EINTR) {
			return err
		}
		if ctx.Err() != nil {
			return fmt.Errorf("process %d does not end: %w", pid, context.Cause(ctx))
		}
	}
}

// removeTree removes a cgroup's directories from the leaves up; their files go with them.
func removeTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeTree(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	if err := syscall.Rmdir(dir); err != nil && !gone(err) {
		return &fs.PathError{Op: "rmdir", Path: dir, Err: err}
	}
	return nil
}
