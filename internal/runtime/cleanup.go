package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"hyperkube/internal/node/cgroup"
)

// CleanupConfig says whose containers to end.
type CleanupConfig struct {
	// Root and State of the runtime, as in [Config].
	Root, State string
	// CgroupParent, when set, is removed with all that is in it: the cgroup under which the node's pods lie.
	CgroupParent string
}

// Cleanup ends every container of a runtime and takes back what the kernel keeps for them: shims and processes are
// killed, mounts and network namespaces below Root and State undone, cgroups and the State directory removed. It needs no daemon, and
// must not run beside one. Root's files stay: images, and metadata of containers that the next daemon finds
// ended. Doing it twice, or where nothing is, is no error.
func Cleanup(ctx context.Context, c CleanupConfig) error {
	if c.Root == "" || c.State == "" || filepath.Clean(c.Root) == "/" || filepath.Clean(c.State) == "/" {
		return fmt.Errorf("cleaning up a runtime: root %q and state %q must be directories of its own", c.Root, c.State)
	}
	h, err := cgroup.Detect()
	if err != nil {
		return fmt.Errorf("cleaning up a runtime: %w", err)
	}
	groups, err := bundleCgroups(c.State)
	if err != nil {
		return fmt.Errorf("cleaning up a runtime: %w", err)
	}
	// Shims first: they would report, and tidy up after, the containers that end.
	errs := []error{killBelow(ctx, c.State)}
	if c.CgroupParent != "" {
		groups = append(groups, c.CgroupParent)
	}
	for _, g := range groups {
		errs = append(errs, h.Destroy(ctx, g))
	}
	errs = append(errs, killBelow(ctx, c.State), unmountBelow(c.State), unmountBelow(c.Root))
	errs = append(errs, os.RemoveAll(shimSocketDir(c.State)))
	if errors.Join(errs...) == nil { // Never delete through a mount that is still there.
		errs = append(errs, os.RemoveAll(c.State))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("cleaning up a runtime: %w", err)
	}
	return nil
}

// bundleCgroups reads the containers' cgroups from the bundles, which hold each one's OCI configuration.
func bundleCgroups(state string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(state, "io.containerd.runtime.v2.task", "*", "*", "config.json"))
	if err != nil {
		return nil, err
	}
	var groups []string
	for _, f := range files {
		data, err := os.ReadFile(f)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		var spec struct {
			Linux struct {
				CgroupsPath string `json:"cgroupsPath"`
			} `json:"linux"`
		}
		if err := json.Unmarshal(data, &spec); err != nil {
			continue // Killed while it was written: its container never ran, or runs below CgroupParent.
		}
		if p := filepath.Clean("/" + spec.Linux.CgroupsPath); p != "/" {
			groups = append(groups, p)
		}
	}
	return groups, nil
}

// killBelow kills the shims and runcs that work in a directory or below, which they do in their bundles, and waits
// for their end.
func killBelow(ctx context.Context, dir string) error {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() || !worksBelow(pid, dir) {
			continue
		}
		errs = append(errs, killIf(ctx, pid, func() bool { return worksBelow(pid, dir) }))
	}
	return errors.Join(errs...)
}

// worksBelow leaves out other programs: somebody's shell in the directory is not ours.
func worksBelow(pid int, dir string) bool {
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	name := filepath.Base(strings.TrimSuffix(exe, " (deleted)"))
	if err != nil || name != helperShim && name != helperRunc {
		return false
	}
	cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
	return err == nil && (cwd == dir || strings.HasPrefix(cwd, dir+"/"))
}

// killIf kills a process that still is the one meant once its handle is open, and waits for its end.
func killIf(ctx context.Context, pid int, meant func() bool) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, syscall.ESRCH) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if !meant() {
		return nil
	}
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

// unmountBelow undoes all mounts below a directory, the last made first. Mounts in use go when their last user does.
func unmountBelow(dir string) error {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	var points []string
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 4 {
			if p := unescape.Replace(f[4]); strings.HasPrefix(p, dir+"/") {
				points = append(points, p)
			}
		}
	}
	var errs []error
	for _, p := range slices.Backward(points) {
		err := unix.Unmount(p, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOENT) {
			errs = append(errs, fmt.Errorf("unmounting %s: %w", p, err))
		}
	}
	return errors.Join(errs...)
}
