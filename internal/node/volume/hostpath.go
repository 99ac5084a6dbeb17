package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
)

// checkHostPath sees to it that the path is of the type that the volume says, and makes it where the type allows that.
func checkHostPath(v *corev1.HostPathVolumeSource) error {
	want := corev1.HostPathUnset
	if v.Type != nil {
		want = *v.Type
	}
	if want == corev1.HostPathUnset {
		return nil
	}
	info, err := os.Stat(v.Path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	there := err == nil
	is := func(ok bool, what string) error {
		if !there || !ok {
			return fmt.Errorf("hostPath type check failed: %s is not %s", v.Path, what)
		}
		return nil
	}
	mode := fs.FileMode(0)
	if there {
		mode = info.Mode()
	}
	switch want {
	case corev1.HostPathDirectoryOrCreate:
		if !there {
			return os.MkdirAll(v.Path, 0o755)
		}
		return is(mode.IsDir(), "a directory")
	case corev1.HostPathDirectory:
		return is(mode.IsDir(), "a directory")
	case corev1.HostPathFileOrCreate:
		if !there {
			return makeFile(v.Path)
		}
		return is(mode.IsRegular(), "a file")
	case corev1.HostPathFile:
		return is(mode.IsRegular(), "a file")
	case corev1.HostPathSocket:
		return is(mode&fs.ModeSocket != 0, "a socket file")
	case corev1.HostPathCharDev:
		return is(mode&fs.ModeCharDevice != 0, "a character device")
	case corev1.HostPathBlockDev:
		return is(mode&fs.ModeDevice != 0 && mode&fs.ModeCharDevice == 0, "a block device")
	}
	return fmt.Errorf("%q is not a valid hostPath type", want)
}

func makeFile(path string) error {
	if _, err := os.Stat(filepath.Dir(path)); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}
