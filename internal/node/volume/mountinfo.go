package volume

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"sort"
	"strings"

	"golang.org/x/sys/unix"
)

// unmountBelow unmounts everything mounted at or below dir, the deepest first.
func unmountBelow(dir string) error {
	points, err := mountsBelow(dir)
	if err != nil {
		return err
	}
	for _, p := range points {
		if err := unmount(p); err != nil {
			return err
		}
	}
	return nil
}

// unmount one mount point; one that is busy is detached, and goes when its last user does.
func unmount(path string) error {
	err := unix.Unmount(path, unix.UMOUNT_NOFOLLOW)
	if errors.Is(err, unix.EBUSY) {
		err = unix.Unmount(path, unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH)
	}
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unmount %s: %w", path, err)
	}
	return nil
}

func mountsBelow(dir string) ([]string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var points []string
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		fields := strings.Fields(s.Text())
		if len(fields) < 5 {
			continue
		}
		p := unescape(fields[4])
		if p == dir || strings.HasPrefix(p, dir+"/") {
			points = append(points, p)
		}
	}
	sort.Sort(sort.Reverse(sort.StringSlice(points)))
	return points, s.Err()
}

// unescape undoes the octal escapes of mountinfo (space, tab, newline, backslash).
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// isMountPoint says whether something of its own is mounted at dir, by the device of its parent. Bind mounts of
// the same filesystem are not seen; it is meant for tmpfs.
func isMountPoint(dir string) (bool, error) {
	var d, p unix.Stat_t
	if err := unix.Lstat(dir, &d); err != nil {
		return false, err
	}
	if err := unix.Lstat(dir+"/..", &p); err != nil {
		return false, err
	}
	return d.Dev != p.Dev, nil
}

// mountTmpfs mounts a tmpfs at dir unless one is there. size is in bytes, 0 for the kernel's default of half the memory.
func mountTmpfs(dir string, size int64) error {
	if there, err := isMountPoint(dir); err != nil || there {
		return err
	}
	data := "mode=0777"
	if size > 0 {
		data += fmt.Sprintf(",size=%d", size)
	}
	// noswap keeps secrets off the disk; kernels before 6.4 do not know it.
	err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOATIME, data+",noswap")
	if errors.Is(err, unix.EINVAL) {
		err = unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOATIME, data)
	}
	if err != nil {
		return fmt.Errorf("mount tmpfs at %s: %w", dir, err)
	}
	return nil
}
