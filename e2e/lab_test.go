package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"hyperkube/internal/testenv"
)

// lab is a network of machines: a bridge in a namespace of its own, and a namespace for each machine. Nothing of
// it is seen by the machine that runs the test.
type lab struct {
	t    *testing.T
	name string
	bin  string
}

// maxHosts is how many machines a lab can have.
const maxHosts = 9

// newLab makes a network without machines. Everything of it is gone after the test; what a killed test left is removed by
// the next, which uses the same names. HYPERKUBE_E2E_NAME gives tests that run beside others names of their own.
func newLab(t *testing.T) *lab {
	t.Helper()
	testenv.NeedRoot(t)
	bin, err := filepath.Abs("../build/hyperkube")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(bin); err != nil {
		t.Fatal("build/hyperkube is missing: run make first")
	}
	l := &lab{t: t, name: "e2e", bin: bin}
	if n := os.Getenv("HYPERKUBE_E2E_NAME"); n != "" {
		l.name += "-" + n
	}
	l.clean()
	t.Cleanup(l.clean)
	l.ip("netns", "add", l.hub())
	l.ip("-n", l.hub(), "link", "set", "lo", "up")
	l.ip("-n", l.hub(), "link", "add", "br0", "type", "bridge")
	l.ip("-n", l.hub(), "link", "set", "br0", "up")
	l.ip("-n", l.hub(), "addr", "add", "10.79.0.254/24", "dev", "br0")
	return l
}

func (l *lab) hub() string { return "hk-" + l.name + "-hub" }

// port is the bridge's end of a machine's cable.
func (l *lab) port(n int) string { return fmt.Sprintf("v%d", n) }

// machine n, whether it is there or not.
func (l *lab) machine(n int) *host {
	return &host{
		t: l.t, bin: l.bin, ns: fmt.Sprintf("hk-%s-%d", l.name, n), ip: fmt.Sprintf("10.79.0.%d", n),
		data: fmt.Sprintf("/tmp/hyperkube-%s-%d", l.name, n),
	}
}

// host adds machine n, from 1 to maxHosts.
func (l *lab) host(n int) *host {
	l.t.Helper()
	h := l.machine(n)
	l.ip("netns", "add", h.ns)
	l.ip("-n", h.ns, "link", "set", "lo", "up")
	l.ip("-n", h.ns, "link", "add", "eth0", "type", "veth", "peer", "name", l.port(n), "netns", l.hub())
	l.ip("-n", l.hub(), "link", "set", l.port(n), "master", "br0", "up")
	l.ip("-n", h.ns, "addr", "add", h.ip+"/24", "dev", "eth0")
	l.ip("-n", h.ns, "link", "set", "eth0", "up")
	l.ip("-n", h.ns, "route", "add", "default", "via", "10.79.0.254")
	return h
}

// unplug cuts machine n off from all others; plug undoes it.
func (l *lab) unplug(n int) { l.ip("-n", l.hub(), "link", "set", l.port(n), "down") }
func (l *lab) plug(n int)   { l.ip("-n", l.hub(), "link", "set", l.port(n), "up") }

func (l *lab) clean() {
	for n := range maxHosts {
		l.machine(n + 1).clean()
	}
	_ = exec.Command("ip", "netns", "del", l.hub()).Run() // fails when it is not there
}

func (l *lab) ip(args ...string) {
	l.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		l.t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}
