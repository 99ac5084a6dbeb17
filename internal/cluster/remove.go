package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// beneath is how a directory is entered for removal: not through links, and not through mounts. The kernel refuses
// both, bind mounts of the same file system included, so there is no moment between looking and deleting.
const beneath = unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV | unix.RESOLVE_BENEATH

// removeTree deletes a file or directory with all that is in it. What is mounted below stays, with an error that names
// it. What is not there is no error.
func removeTree(path string) error {
	parent, err := unix.Open(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return &os.PathError{Op: "removing", Path: path, Err: err}
	}
	defer unix.Close(parent)
	return removeAt(parent, filepath.Base(path), path)
}

// removeAt removes one name of the directory that is open as dir; path is for messages.
func removeAt(dir int, name, path string) error {
	err := unix.Unlinkat(dir, name, 0)
	switch {
	case err == nil || errors.Is(err, unix.ENOENT):
		return nil
	case !errors.Is(err, unix.EISDIR) && !errors.Is(err, unix.EPERM): // EPERM: POSIX's word for a directory
		return removalError(path, err)
	}
	fd, err := unix.Openat2(dir, name, &unix.OpenHow{
		Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC | unix.O_NOFOLLOW, Resolve: beneath,
	})
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return removalError(path, err)
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return removalError(path, err)
	}
	var errs []error
	for _, n := range names {
		errs = append(errs, removeAt(fd, n, filepath.Join(path, n)))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := unix.Unlinkat(dir, name, unix.AT_REMOVEDIR); err != nil && !errors.Is(err, unix.ENOENT) {
		return removalError(path, err)
	}
	return nil
}

func removalError(path string, err error) error {
	if errors.Is(err, unix.EXDEV) || errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("%s is left: something is mounted there", path)
	}
	return &os.PathError{Op: "removing", Path: path, Err: err}
}
