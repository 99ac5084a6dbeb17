package machine

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// Disk is a file system of its own on a loop device, so that the kernel counts what one system writes to it, journal included.
type Disk struct {
	Dir    string
	device string
}

// CreateDisk makes a file system of the given size in the box.
func (b *Box) CreateDisk(megabytes int) (*Disk, error) {
	file := filepath.Join(b.Dir, "disk.img")
	d := &Disk{Dir: b.diskDir()}
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	if err := f.Truncate(int64(megabytes) << 20); err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	if err := os.Mkdir(d.Dir, 0o711); err != nil {
		return nil, err
	}
	// Tables are written now, not in the background during the measurement.
	for _, args := range [][]string{
		{"mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", file},
		{"mount", "-o", "loop", file, d.Dir},
	} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, out)
		}
	}
	return b.OpenDisk()
}

func (b *Box) diskDir() string { return filepath.Join(b.Dir, "disk") }

// OpenDisk finds the file system that CreateDisk made.
func (b *Box) OpenDisk() (*Disk, error) {
	d := &Disk{Dir: b.diskDir()}
	out, err := exec.Command("findmnt", "-no", "SOURCE", d.Dir).Output()
	if err != nil {
		return nil, fmt.Errorf("finding the device of %s: %w", d.Dir, err)
	}
	d.device = filepath.Base(strings.TrimSpace(string(out)))
	return d, nil
}

// Written is what the device has been given to write since it was made.
func (d *Disk) Written() (int64, error) {
	data, err := os.ReadFile(filepath.Join("/sys/block", d.device, "stat"))
	if err != nil {
		return 0, err
	}
	f := strings.Fields(string(data))
	if len(f) < 7 {
		return 0, fmt.Errorf("%s: the kernel's statistics are not understood: %q", d.device, data)
	}
	sectors, err := strconv.ParseInt(f[6], 10, 64)
	return sectors * 512, err
}
