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

	"hyperkube/internal/ociarchive"
)

// host is one machine of a [lab]: a network namespace with an address, a data directory and the built binary.
type host struct {
	t    *testing.T
	ns   string
	ip   string
	data string
	bin  string
}

const webImage = "example.test/webapp:1"

// newHost is a lab of one machine.
func newHost(t *testing.T) *host { return newLab(t).host(1) }

// clean removes the node and the machine. What is not there needs no removing.
func (h *host) clean() {
	if _, err := os.Stat(h.data); err == nil {
		if out, err := h.in(h.bin, "reset", "--data-dir", h.data).CombinedOutput(); err != nil {
			h.t.Logf("reset: %v: %s", err, out)
		}
	}
	_ = exec.Command("ip", "netns", "del", h.ns).Run()
	_ = os.RemoveAll(h.data)
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

func (h *host) kubectl(args ...string) string {
	h.t.Helper()
	return h.run(append([]string{"kubectl"}, args...)...)
}

// fetch asks for a URL from the machine itself.
func (h *host) fetch(url string) (string, error) {
	out, err := h.in(h.webapp(), "get", url).CombinedOutput()
	return string(out), err
}

func (h *host) webapp() string { return filepath.Join(filepath.Dir(h.bin), "webapp") }

// importImage builds the test image and loads it.
func (h *host) importImage() {
	h.t.Helper()
	build := exec.Command("go", "build", "-o", h.webapp(), "./webapp")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		h.t.Fatalf("building the test image: %v: %s", err, out)
	}
	program, err := os.ReadFile(h.webapp())
	if err != nil {
		h.t.Fatal(err)
	}
	f, err := os.CreateTemp(h.t.TempDir(), "image-*.tar")
	if err != nil {
		h.t.Fatal(err)
	}
	defer f.Close()
	if err := ociarchive.Write(f, ociarchive.Image{
		Ref: webImage, Entrypoint: []string{"/webapp"},
		Files: []ociarchive.File{{Path: "webapp", Mode: 0o755, Data: program}},
	}); err != nil {
		h.t.Fatal(err)
	}
	if got := h.run("images", "import", "--data-dir", h.data, f.Name()); !strings.Contains(got, webImage) {
		h.t.Fatalf("images import printed %q", got)
	}
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
