// Package footprint gives back memory that a process needed only for a while: for its start, or for a burst of work.
//
// A start decodes, sorts and compiles much that it needs once; a burst leaves garbage behind. The collector keeps such garbage as room to
// grow for minutes. And the kernel maps pages of the program's file because something near them was touched: since Linux 6.18 whole
// folios, which for a file just written is most of it. Neither is of use to a process that idles.
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
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// period is how long a process must have been quiet to count as idle.
	period = 10 * time.Second
	// quiet is the part of one core below which a process counts as idle.
	quiet = 0.05
	// worth is how many bytes that are spared without work are worth giving back.
	worth = 8 << 20
)

// spared is what [Spare] was told of since memory was given back last.
var spared atomic.Int64

// Spare tells that so many bytes, which had been kept for a while, are needed no more: they are given back though there was no work before.
func Spare(bytes int64) { spared.Add(bytes) }

// Keep gives back what is not needed whenever the process has become quiet after it was busy or has spared much, until ctx ends. failed is told of errors.
func Keep(ctx context.Context, failed func(error)) {
	t := time.NewTicker(period)
	defer t.Stop()
	k := keeper{busy: true} // with its start
	for {
		select {
		case <-t.C:
			if err := k.look(cpuTime, Trim); err != nil {
				failed(err)
			}
		case <-ctx.Done():
			return
		}
	}
}

// keeper remembers what it takes to see that a process has become quiet.
type keeper struct {
	busy bool // since the last time that memory was given back
	used time.Duration
}

// look is called once each period. What giving back itself costs does not count as work.
func (k *keeper) look(cpu func() (time.Duration, error), trim func() error) error {
	now, err := cpu()
	if err != nil {
		return err
	}
	spent := now - k.used
	k.used = now
	if spent > time.Duration(quiet*float64(period)) {
		k.busy = true
		return nil
	}
	if !k.busy && spared.Load() < worth {
		return nil
	}
	k.busy = false
	spared.Store(0)
	err = trim()
	now, cpuErr := cpu()
	if cpuErr == nil {
		k.used = now
	}
	return errors.Join(err, cpuErr)
}

// cpuTime is what the process has used until now.
func cpuTime() (time.Duration, error) {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0, err
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
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
