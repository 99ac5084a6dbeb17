package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// role starts a role by the name of a link to the binary, in the way of a service manager. It ends with the test.
func (h *host) role(name string, args ...string) *process {
	h.t.Helper()
	link := h.path("bin/" + name)
	if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.Symlink(h.bin, link); err != nil && !os.IsExist(err) {
		h.t.Fatal(err)
	}
	p := start(h.t, h.command(link, args...))
	p.name = name
	h.t.Cleanup(func() {
		if lines := strings.Split(p.said(), "\n"); h.t.Failed() {
			h.t.Logf("%s said at last:\n%s", name, strings.Join(lines[max(0, len(lines)-15):], "\n"))
		}
	})
	return p
}

// endRoles removes what roles that ran one by one left behind, also those of a test that was killed.
func (h *host) endRoles() {
	if _, err := os.Stat(filepath.Join(h.data, "bin")); err != nil {
		return
	}
	h.killNetwork()
	out, err := h.in(h.bin, "containerd", "--cleanup", "--root", h.path("containerd"), "--state", h.path("run/containerd"), "--cgroup-parent", h.cgroup()).CombinedOutput()
	if err != nil {
		h.t.Logf("ending containers: %v: %s", err, out)
	}
	h.unmount()
}

// killNetwork kills what runs in the machine's network: only the test's own.
func (h *host) killNetwork() {
	out, err := exec.Command("ip", "netns", "pids", h.ns).Output()
	if err != nil {
		return // there is no such machine
	}
	for _, pid := range strings.Fields(string(out)) {
		_ = exec.Command("kill", "-9", pid).Run() // it may have ended
	}
}

func (h *host) path(name string) string { return filepath.Join(h.data, filepath.FromSlash(name)) }

// cgroup is the one below which the machine's pods run.
func (h *host) cgroup() string { return "/" + h.ns }

// unmount undoes the mounts of volumes.
func (h *host) unmount() {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		h.t.Logf("reading mounts: %v", err)
		return
	}
	for line := range bytes.Lines(mounts) {
		if f := strings.Fields(string(line)); len(f) > 4 && strings.HasPrefix(f[4], h.data+"/") {
			if out, err := exec.Command("umount", "-l", f[4]).CombinedOutput(); err != nil && !strings.Contains(string(out), "not mounted") {
				h.t.Logf("umount: %v: %s", err, out)
			}
		}
	}
}

// write puts a file below the data directory and gives its path.
func (h *host) write(name, format string, args ...any) string {
	h.t.Helper()
	path := h.path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(path, fmt.Appendf(nil, format, args...), 0o600); err != nil {
		h.t.Fatal(err)
	}
	return path
}
