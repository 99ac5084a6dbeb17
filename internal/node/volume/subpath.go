package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/types"
)

// bindSubPath mounts a path inside a volume at a place of its own, which is what the container gets. The kernel resolves the
// path with the volume as its root and refuses every way out of it (openat2 with RESOLVE_BENEATH), and the
// mount is made from the opened file, so nobody can swap a directory for a link in between.
// A path that does not exist is made as a directory with the mode of the volume.
func (m *Manager) bindSubPath(uid types.UID, volume, volumePath, subPath, container string, index int) (string, error) {
	fd, err := openBeneath(volumePath, subPath)
	if err != nil {
		return "", fmt.Errorf("failed to prepare subPath for volumeMount %q of container %q: %w", volume, container, err)
	}
	defer unix.Close(fd)
	var src unix.Stat_t
	if err := unix.Fstat(fd, &src); err != nil {
		return "", err
	}
	target := filepath.Join(m.PodDir(uid), "volume-subpaths", volume, container, strconv.Itoa(index))
	if same, err := prepareTarget(target, &src); err != nil || same {
		return target, err
	}
	from := "/proc/self/fd/" + strconv.Itoa(fd)
	if err := unix.Mount(from, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return "", fmt.Errorf("bind subPath %q of volume %q: %w", subPath, volume, err)
	}
	return target, nil
}

// prepareTarget makes an empty file or directory to mount over. same says that the right thing is mounted there already;
// another one (a config map that was updated since) is unmounted.
func prepareTarget(target string, src *unix.Stat_t) (same bool, err error) {
	var st unix.Stat_t
	switch err := unix.Lstat(target, &st); {
	case err == nil && st.Dev == src.Dev && st.Ino == src.Ino:
		return true, nil
	case err == nil:
		if err := unmount(target); err != nil {
			return false, err
		}
		if err := os.RemoveAll(target); err != nil {
			return false, err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return false, err
	}
	if src.Mode&unix.S_IFMT == unix.S_IFDIR {
		return false, os.MkdirAll(target, 0o750)
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o750); err != nil {
		return false, err
	}
	return false, os.WriteFile(target, nil, 0o640)
}

// openBeneath opens a path below root with O_PATH, making missing directories.
func openBeneath(root, path string) (int, error) {
	if filepath.IsAbs(path) {
		return -1, fmt.Errorf("subPath %q must not be absolute", path)
	}
	clean := filepath.Clean(path)
	rootFD, err := unix.Open(root, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open volume %s: %w", root, err)
	}
	defer unix.Close(rootFD)
	fd, err := open2(rootFD, clean)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeBeneath(rootFD, clean); err != nil {
			return -1, err
		}
		fd, err = open2(rootFD, clean)
	}
	if errors.Is(err, unix.EXDEV) || errors.Is(err, unix.ELOOP) {
		return -1, fmt.Errorf("subPath %q is not within the volume: %w", path, err)
	}
	if err != nil {
		return -1, fmt.Errorf("subPath %q: %w", path, err)
	}
	return fd, nil
}

func open2(root int, path string) (int, error) {
	return unix.Openat2(root, path, &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS,
	})
}

// makeBeneath makes the missing directories of a path, one by one.
func makeBeneath(root int, path string) error {
	var st unix.Stat_t
	if err := unix.Fstat(root, &st); err != nil {
		return err
	}
	parts := strings.Split(path, "/")
	for i := range parts {
		prefix := strings.Join(parts[:i+1], "/")
		fd, err := open2(root, prefix)
		if err == nil {
			unix.Close(fd)
			continue
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("subPath %q: %w", path, err)
		}
		if err := mkdirBeneath(root, strings.Join(parts[:i], "/"), parts[i], st.Mode&0o7777); err != nil {
			return err
		}
	}
	return nil
}

func mkdirBeneath(root int, parent, name string, mode uint32) error {
	if parent == "" {
		parent = "."
	}
	dir, err := open2(root, parent)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	switch err := unix.Mkdirat(dir, name, mode); {
	case errors.Is(err, fs.ErrExist):
		return nil
	case err != nil:
		return fmt.Errorf("make subPath directory %q: %w", name, err)
	}
	// The mode is the volume's in spite of the umask: whoever may write to the volume may write here. The descriptor is of
	// what is there now, and whatever that is, it is inside the volume and no link.
	made, err := unix.Openat2(dir, name, &unix.OpenHow{Flags: unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS})
	if err != nil {
		return fmt.Errorf("make subPath directory %q: %w", name, err)
	}
	defer unix.Close(made)
	return unix.Fchmod(made, mode)
}
