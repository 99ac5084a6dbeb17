// Package e2e drives the built binary as its users do: whole clusters with real containers, each
// node in a network namespace of its own.
package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// host is one machine of a [lab]: a network namespace with an address, a data directory and the built binary.
type host struct {
	t    *testing.T
	ns   string
	ip   string
	data string
	bin  string
}

// newHost is a lab of one machine.
func newHost(t *testing.T) *host { return newLab(t).host(1) }

// newCluster is a machine with a cluster on it, which has the test images.
func newCluster(t *testing.T) *host {
	t.Helper()
	h := newHost(t)
	h.up()
	return h
}

// up starts a cluster of this machine alone, loads the test images and waits until the node is ready.
func (h *host) up() {
	h.t.Helper()
	h.run("up", "--detach", "--data-dir", h.data, "--node-name", "one")
	h.importImage()
	h.kubectl("wait", "--for=condition=Ready", "node/one", "--timeout=20s")
}

// on is the machine for a part of the test.
func (h *host) on(t *testing.T) *host {
	c := *h
	c.t = t
	return &c
}

// clean removes the node and the machine. What is not there needs no removing.
func (h *host) clean() {
	h.endRoles()
	h.endDocker()
	if _, err := os.Stat(h.path("node.json")); err == nil {
		if out, err := h.in(h.bin, "reset", "--data-dir", h.data).CombinedOutput(); err != nil {
			h.t.Logf("reset: %v: %s", err, out)
		}
	}
	_ = exec.Command("ip", "netns", "del", h.ns).Run()
	h.unlinkLogs()
	_ = os.RemoveAll(h.data)
}

// unlinkLogs removes the links to containers' logs that a kubelet of its own makes where collectors of logs look.
func (h *host) unlinkLogs() {
	links, err := filepath.Glob("/var/log/containers/*.log")
	if err != nil {
		h.t.Log(err)
	}
	for _, l := range links {
		if to, err := os.Readlink(l); err == nil && strings.HasPrefix(to, h.data+"/") {
			_ = os.Remove(l)
		}
	}
}

// in is a command on the machine, bounded in time.
func (h *host) in(name string, args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	h.t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, "nsenter", append([]string{"--net=/run/netns/" + h.ns, name}, args...)...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+filepath.Join(h.data, "admin.kubeconfig"))
	return cmd
}

// run gives what hyperkube prints, and fails the test when it fails.
func (h *host) run(args ...string) string {
	h.t.Helper()
	out, err := h.try(args...)
	if err != nil {
		h.t.Fatalf("hyperkube %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return out
}

func (h *host) try(args ...string) (string, error) {
	cmd := h.in(h.bin, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

// kubectl gives what upstream's kubectl prints, and fails the test when it fails.
func (h *host) kubectl(args ...string) string {
	h.t.Helper()
	return h.upstream().run(args...)
}

// kernel is what of the machine's kernel objects a cluster could leave behind.
func (h *host) kernel() string {
	h.t.Helper()
	var all strings.Builder
	for _, c := range [][]string{{"ip", "-o", "-br", "link"}, {"ip", "route"}, {"ip", "rule"}} {
		out, err := h.in(c[0], c[1:]...).Output()
		if err != nil {
			h.t.Fatal(err)
		}
		all.Write(out)
	}
	out, err := h.in("iptables-save").Output()
	if err != nil {
		h.t.Fatal(err)
	}
	for _, line := range strings.Split(string(out), "\n") {
		if strings.HasPrefix(line, "-A") || strings.Contains(line, "KUBE") || strings.Contains(line, "FLANNEL") {
			fmt.Fprintln(&all, line)
		}
	}
	return all.String()
}
