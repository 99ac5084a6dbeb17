package down

import (
	"errors"
	"fmt"
	"strings"

	mountinfo "github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// unmountBelow undoes every mount below a directory, the innermost first: the volumes of pods that are gone. A mount that somebody
// still works in goes out of sight now and away with its last user.
func unmountBelow(dir string) error {
	all, err := mountinfo.GetMounts(mountinfo.PrefixFilter(dir))
	if err != nil {
		return fmt.Errorf("reading the mounts: %w", err)
	}
	var errs []error
	for i := len(all) - 1; i >= 0; i-- {
		at := all[i].Mountpoint
		if !strings.HasPrefix(at, dir+"/") {
			continue
		}
		err := unix.Unmount(at, unix.UMOUNT_NOFOLLOW)
		if errors.Is(err, unix.EBUSY) {
			err = unix.Unmount(at, unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH)
		}
		if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, fmt.Errorf("unmounting %s: %w", at, err))
		}
	}
	return errors.Join(errs...)
}
