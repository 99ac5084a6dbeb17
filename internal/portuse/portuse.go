// Package portuse tells who holds a port that is in use, which the kernel's error does not.
package portuse

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Explain adds to an error about an address in use which process holds the port. Any other error comes back as it is.
func Explain(err error) error {
	var op *net.OpError
	var done *held
	if !errors.Is(err, syscall.EADDRINUSE) || errors.As(err, &done) || !errors.As(err, &op) || op.Addr == nil {
		return err
	}
	_, text, perr := net.SplitHostPort(op.Addr.String())
	if perr != nil {
		return err
	}
	port, perr := strconv.Atoi(text)
	if perr != nil {
		return err
	}
	protocol := strings.TrimRight(op.Net, "46")
	return &held{err, fmt.Sprintf("%s port %d is held by %s", protocol, port, holder(protocol, port))}
}

type held struct {
	error
	by string
}

func (h *held) Error() string { return h.error.Error() + " (" + h.by + ")" }
func (h *held) Unwrap() error { return h.error }

// holder names the process that has a socket bound to the port in this network namespace.
func holder(protocol string, port int) string {
	inodes := map[string]bool{}
	for _, family := range []string{"", "6"} {
		text, err := os.ReadFile("/proc/net/" + protocol + family)
		if err != nil {
			continue
		}
		collect(string(text), protocol, port, inodes)
	}
	if len(inodes) == 0 {
		return "nobody any more"
	}
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*") // of processes that we may look into
	for _, l := range links {
		if to, err := os.Readlink(l); err != nil || !inodes[to] {
			continue
		}
		proc := filepath.Dir(filepath.Dir(l))
		comm, _ := os.ReadFile(filepath.Join(proc, "comm"))
		return fmt.Sprintf("process %s, %s", filepath.Base(proc), strings.TrimSpace(string(comm)))
	}
	return "a process that cannot be seen from here, or by the kernel"
}

// collect finds the sockets bound to a port in the kernel's table, as /proc/PID/fd shows them. Of TCP only those that listen
// keep others out.
func collect(table, protocol string, port int, into map[string]bool) {
	const local, state, inode, listening = 1, 3, 9, "0A"
	suffix := fmt.Sprintf(":%04X", port)
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) > inode && strings.HasSuffix(f[local], suffix) && (protocol != "tcp" || f[state] == listening) {
			into["socket:["+f[inode]+"]"] = true
		}
	}
}
