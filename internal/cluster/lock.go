package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrRunning says that a process runs the node already.
var ErrRunning = errors.New("the cluster is running already")

// Lock makes this process the one that runs the node, until it ends, however it ends. It fails with
// [ErrRunning] when another uses the data directory or the run directory.
func (l Layout) Lock() (release func(), err error) {
	var held []*os.File
	release = func() {
		for _, f := range held {
			f.Close()
		}
	}
	for _, path := range l.locks() {
		f, err := lock(path)
		if errors.Is(err, ErrRunning) && awaitDying(holder(path)) {
			f, err = lock(path)
		}
		if err != nil {
			release()
			if errors.Is(err, ErrRunning) {
				return nil, fmt.Errorf("%w (process %d, directory %s)", ErrRunning, holder(path), filepath.Dir(path))
			}
			return nil, err
		}
		held = append(held, f)
	}
	return release, nil
}

// awaitDying waits for the end of a process that was killed already but is not through with ending; false when it is not.
func awaitDying(pid int) bool {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return errors.Is(err, unix.ESRCH)
	}
	defer unix.Close(fd)
	return dying(pid) && waitPidfd(fd) == nil
}

// dying tells whether the kernel is ending a process, or was told to.
func dying(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	// The name, which may hold anything, ends at the last bracket; the state and, seven fields on, the flags follow.
	f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	const exiting, flags = 0x4, 6 // PF_EXITING
	if n, err := strconv.ParseUint(f[flags], 10, 64); f[0] == "Z" || f[0] == "X" || err == nil && n&exiting != 0 {
		return true
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	for line := range strings.Lines(string(status)) {
		for _, pending := range []string{"SigPnd:", "ShdPnd:"} {
			if mask, ok := strings.CutPrefix(line, pending); ok {
				n, err := strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
				if err == nil && n&(1<<(syscall.SIGKILL-1)) != 0 {
					return true
				}
			}
		}
	}
	return false
}

func lock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the node: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, ErrRunning
		}
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	if err = f.Truncate(0); err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("writing %s: %w", path, err)
	}
	return f, nil
}

// holder is the process id in a lock file; 0 when it has none.
func holder(path string) int {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0
	}
	return pid
}

// Running is the id of the process that runs the node; 0 when none does.
func (l Layout) Running() (int, error) {
	for _, path := range l.locks() {
		pid, err := running(path)
		if err != nil || pid != 0 {
			return pid, err
		}
	}
	return 0, nil
}

func running(path string) (int, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	if err == nil {
		return 0, nil // nobody holds it: whoever wrote the number is gone
	}
	if !errors.Is(err, unix.EWOULDBLOCK) {
		return 0, err
	}
	pid := holder(path)
	if pid == 0 {
		return 0, fmt.Errorf("%s is held, but holds no process id", path)
	}
	return pid, nil
}

// Stop asks the process that runs the node to end, and kills it when ctx ends first. It returns
// when the process is gone; at once when there is none.
func (l Layout) Stop(ctx context.Context) error {
	pid, err := l.Running()
	if err != nil || pid == 0 {
		return err
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("process %d: %w", pid, err)
	}
	defer unix.Close(fd)
	if still, err := l.Running(); err != nil || still != pid {
		return err // the number was taken over by a stranger between the two looks
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGTERM, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("stopping process %d: %w", pid, err)
	}
	gone := make(chan error, 1)
	go func() { gone <- waitPidfd(fd) }()
	select {
	case err := <-gone:
		return err
	case <-ctx.Done():
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("killing process %d: %w", pid, err)
	}
	return <-gone
}

// waitPidfd returns when the process has ended.
func waitPidfd(fd int) error {
	for {
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
