// Package footprint gives back the memory that only the start of a process needed.
//
// A start decodes, sorts and compiles much that it needs once. What is left is garbage that the collector would keep as room to
// grow, and pages of the program's file that the kernel mapped because something near them was touched: since Linux 6.18 it maps
// whole folios, which for a file just written is most of it. Neither is of use to a cluster that idles.
//
// Giving back costs one garbage collection and, for code and constants that are used again, a fault that finds the page in
// the page cache. It changes nothing that a program can see.
package footprint

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Settle gives back what the start needed, once, after the process has run for a while; a process that ends before is not held up.
func Settle(ctx context.Context, after time.Duration, failed func(error)) {
	t := time.AfterFunc(after, func() {
		if err := Trim(); err != nil {
			failed(err)
		}
	})
	context.AfterFunc(ctx, func() { t.Stop() })
}

// Trim gives back garbage and unmaps the pages of the program's own file.
func Trim() error {
	debug.FreeOSMemory()
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return err
	}
	defer maps.Close()
	var errs []error
	lines := bufio.NewScanner(maps)
	for lines.Scan() {
		from, to, ok := fileMapping(lines.Text(), self)
		if !ok {
			continue
		}
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, from, to-from, unix.MADV_DONTNEED); errno != 0 {
			errs = append(errs, fmt.Errorf("unmapping pages of %s: %w", self, errno))
		}
	}
	return errors.Join(append(errs, lines.Err())...)
}

// fileMapping gives the range of a line of /proc/self/maps when that maps the file and nobody can have changed it: pages of a
// writable mapping are not the file's any more.
func fileMapping(line, file string) (from, to uintptr, ok bool) {
	var mode, device string
	var offset, inode uint64
	if n, err := fmt.Sscanf(line, "%x-%x %s %x %s %d", &from, &to, &mode, &offset, &device, &inode); n != 6 || err != nil {
		return 0, 0, false
	}
	if !strings.HasSuffix(line, " "+file) || len(mode) != 4 || mode[1] == 'w' || mode[3] != 'p' {
		return 0, 0, false
	}
	return from, to, true
}
