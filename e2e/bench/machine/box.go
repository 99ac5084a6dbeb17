// Package machine is what the measurement needs of the kernel: a box in which one system under test lives, and the kernel's
// own accounting of what that system uses.
//
// A box is a network namespace, a cgroup and a directory, all named alike. Whatever runs in it is found by its cgroup, so that
// nothing outlives the box: Remove ends every process, undoes every mount and removes all three, whether the measurement
// ended well, was killed or crashed.
package machine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Box is the place of one system under test.
type Box struct {
	Name string
	Dir  string
	IP   string
	// Reset gives the command that undoes the system's own traces before the box goes, or nothing when there are none. A
	// failure of it is told, and the rest done nevertheless.
	Reset func() []string
}

const (
	address  = "10.83.0.1"
	gateway  = "10.83.0.254"
	deadline = time.Minute
)

// At names a box without making it.
func At(name, dir string) *Box { return &Box{Name: name, Dir: filepath.Join(dir, name), IP: address} }

// Create makes the box, after removing what an earlier one of this name left.
func (b *Box) Create() error {
	if err := b.Remove(); err != nil {
		return err
	}
	if err := os.MkdirAll(b.Dir, 0o711); err != nil {
		return err
	}
	for _, group := range []string{b.systemGroup(), b.clientGroup()} {
		if err := createGroup(group); err != nil {
			return err
		}
	}
	for _, args := range [][]string{
		{"netns", "add", b.Name},
		{"-n", b.Name, "link", "set", "lo", "up"},
		{"-n", b.Name, "link", "add", "eth0", "type", "veth", "peer", "name", "peer0"},
		{"-n", b.Name, "link", "set", "peer0", "up"},
		{"-n", b.Name, "addr", "add", address + "/24", "dev", "eth0"},
		{"-n", b.Name, "link", "set", "eth0", "up"},
		{"-n", b.Name, "route", "add", "default", "via", gateway},
	} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
		}
	}
	return nil
}

// Remove ends all that runs in the box and removes it. It is done when there is nothing to remove.
func (b *Box) Remove() error {
	var errs []error
	errs = append(errs, b.reset())
	for _, group := range []string{b.systemGroup(), b.clientGroup(), b.PodGroup()} {
		errs = append(errs, removeGroup(group))
	}
	errs = append(errs, UnmountBelow(b.Dir))
	if _, err := os.Stat(b.namespace()); err == nil {
		if out, err := exec.Command("ip", "netns", "del", b.Name).CombinedOutput(); err != nil {
			errs = append(errs, fmt.Errorf("ip netns del %s: %w: %s", b.Name, err, out))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("removing %s: %w", b.Name, err)
	}
	return os.RemoveAll(b.Dir)
}

func (b *Box) reset() error {
	if _, err := os.Stat(b.namespace()); err != nil || b.Reset == nil {
		return nil // There was no box.
	}
	args := b.Reset()
	if len(args) == 0 {
		return nil
	}
	if err := createGroup(b.systemGroup()); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	if out, err := b.Command(ctx, false, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

func (b *Box) namespace() string   { return "/run/netns/" + b.Name }
func (b *Box) systemGroup() string { return b.Name }
func (b *Box) clientGroup() string { return b.Name + "-client" }

// PodGroup is the cgroup for the containers of a system that does not name its own.
func (b *Box) PodGroup() string { return b.Name + "-pods" }

// Command runs a program of the system in the box; it is ended with whoever started it when bound.
func (b *Box) Command(ctx context.Context, bound bool, args ...string) *exec.Cmd {
	return b.enter(ctx, b.systemGroup(), bound, args)
}

// Client runs a program in the box whose work is not the system's: the load.
func (b *Box) Client(ctx context.Context, args ...string) *exec.Cmd {
	return b.enter(ctx, b.clientGroup(), true, args)
}

func (b *Box) enter(ctx context.Context, group string, bound bool, args []string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		self = os.Args[0]
	}
	how := "free"
	if bound {
		how = "bound"
	}
	return exec.CommandContext(ctx, self, append([]string{EnterVerb, b.namespace(), group, how}, args...)...)
}

// UnmountBelow undoes every mount below a directory, the newest first.
func UnmountBelow(dir string) error {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	lines := strings.Split(string(data), "\n")
	var errs []error
	for i := len(lines) - 1; i >= 0; i-- {
		f := strings.Fields(lines[i])
		if len(f) < 5 || (f[4] != dir && !strings.HasPrefix(f[4], dir+"/")) {
			continue
		}
		if err := unix.Unmount(f[4], unix.UMOUNT_NOFOLLOW); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("unmounting %s: %w", f[4], err))
		}
	}
	return errors.Join(errs...)
}
