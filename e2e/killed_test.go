package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"hyperkube/internal/ociarchive"
)

// TestKilled ends the process of a cluster in every way but the good one, and looks at what is left each time.
func TestKilled(t *testing.T) {
	h := newCluster(t)
	h.kubectl("create", "deployment", "web", "--image="+webImage, "--replicas=2", "--", "/webapp", "serve", "v1")
	h.kubectl("rollout", "status", "deployment/web", "--timeout=50s")
	h.kubectl("expose", "deployment", "web", "--port=80", "--target-port=8080")
	url := "http://" + h.kubectl("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}") + "/"
	h.await(url)
	before := h.containers()
	if strings.Count(before, "\n") != 2 {
		t.Fatalf("containers %q, want two", before)
	}
	l := h.load(url)
	for _, part := range []struct {
		name string
		test func(*testing.T, *host)
	}{
		{"while it writes", killedWriting},
		{"while it starts", killedStarting},
		{"while it imports an image", killedImporting},
		{"told to end while it writes", endedWriting},
	} {
		t.Run(part.name, func(t *testing.T) {
			part.test(t, h.on(t))
			if after := h.on(t).containers(); after != before {
				t.Errorf("containers are now\n%s, before\n%s", after, before)
			}
		})
	}
	allAnswered(t, map[string]*load{"a client of the service": l}, "v1")
	t.Run("a shim", func(t *testing.T) { killedShim(t, h.on(t)) })
}

// containers are the containers of pods with their start times and restarts.
func (h *host) containers() string {
	h.t.Helper()
	return h.kubectl("get", "pods", "-l", "app=web", "-o", `jsonpath={range .items[*]}{.metadata.name} {range .status.containerStatuses[*]}{.containerID} {.state.running.startedAt} {.restartCount}{end}{"\n"}{end}`)
}

// pid of the process that runs the cluster.
func (h *host) pid() int {
	h.t.Helper()
	text, err := os.ReadFile(h.path("lock"))
	if err != nil {
		h.t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		h.t.Fatal(err)
	}
	return pid
}

func (h *host) kill() {
	h.t.Helper()
	if err := syscall.Kill(h.pid(), syscall.SIGKILL); err != nil {
		h.t.Fatal(err)
	}
}

// again starts the node again and tells how long that took.
func (h *host) again() {
	h.t.Helper()
	began := time.Now()
	h.run("up", "--detach", "--data-dir", h.data)
	h.t.Logf("Ready again after %v", time.Since(began).Round(time.Millisecond))
}

func killedWriting(t *testing.T, h *host) {
	for round := range 5 {
		logs := start(t, h.in(h.bin, "kubectl", "logs", "-f", "deployment/web"))
		logs.expect("serving v1")
		w := startWriters(h, fmt.Sprint("killed-", round))
		w.after(10 + rand.IntN(600))
		h.kill()
		h.again()
		w.nothingLost(t, h)
		logs.end()
	}
	resumed := start(t, h.in(h.bin, "kubectl", "logs", "-f", "deployment/web"))
	resumed.expect("serving v1")
	if got := h.kubectl("exec", "deployment/web", "--", "/webapp", "echo", "here"); got != "here\n" {
		t.Errorf("exec: %q", got)
	}
}

// killedStarting kills starts at each of their first log lines.
func killedStarting(t *testing.T, h *host) {
	h.kill()
	for line := range 7 {
		p := start(t, h.in(h.bin, "up", "--data-dir", h.data))
		for range line {
			p.expect(" msg=")
		}
		p.signal(syscall.SIGKILL)
		p.wait()
	}
	h.again()
}

// killedImporting takes the process away in the middle of an archive.
func killedImporting(t *testing.T, h *host) {
	data := make([]byte, 8<<20)
	for i := range data {
		data[i] = byte(rand.Uint32())
	}
	var archive strings.Builder
	err := ociarchive.Write(&archive, ociarchive.Image{Ref: "example.test/big:1", Entrypoint: []string{"/x"}, Files: []ociarchive.File{{Path: "x", Mode: 0o755, Data: data}}})
	if err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(t.TempDir(), "archive")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, h.in(h.bin, "images", "import", "--data-dir", h.data, pipe))
	f, err := os.OpenFile(pipe, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(archive.String()[:archive.Len()/2]); err != nil {
		t.Fatal(err)
	}
	h.kill()
	f.Close()
	if code := p.wait(); code == 0 {
		t.Errorf("the import ended well: %s", p.rest())
	}
	h.again()
	whole := filepath.Join(t.TempDir(), "whole.tar")
	if err := os.WriteFile(whole, []byte(archive.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := h.run("images", "import", "--data-dir", h.data, whole); !strings.Contains(got, "example.test/big:1") {
		t.Errorf("importing again: %q", got)
	}
}

// endedWriting: a good end loses nothing either, and does not wait for those who would go on for ever.
func endedWriting(t *testing.T, h *host) {
	w := startWriters(h, "ended")
	w.after(300)
	began := time.Now()
	h.run("down", "--data-dir", h.data)
	took := time.Since(began)
	t.Logf("ended after %v", took.Round(time.Millisecond))
	if took > 10*time.Second {
		t.Errorf("the end took %v", took)
	}
	h.again()
	w.nothingLost(t, h)
}

// killedShim: the pod comes back, and no other is touched.
func killedShim(t *testing.T, h *host) {
	lines := strings.Split(strings.TrimSpace(h.containers()), "\n")
	victim, other := strings.Fields(lines[0])[0], lines[1]
	pid := shimOf(t, victim, h)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	h.kubectl("wait", "--for=jsonpath={.status.containerStatuses[0].restartCount}=1", "pod/"+victim, "--timeout=30s")
	h.kubectl("wait", "--for=condition=Ready", "pod/"+victim, "--timeout=30s")
	if got := h.kubectl("exec", victim, "--", "/webapp", "echo", "here"); got != "here\n" {
		t.Errorf("exec: %q", got)
	}
	if after := h.containers(); !strings.Contains(after, other) {
		t.Errorf("the other pod's container is no longer\n%s, but among\n%s", other, after)
	}
}

// shimOf finds the shim of a pod: it works in the directory of the pod's sandbox.
func shimOf(t *testing.T, pod string, h *host) int {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		exe, err := os.Readlink(filepath.Join(filepath.Dir(dir), "exe"))
		if err != nil || !strings.HasPrefix(exe, h.data+"/") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, "config.json"))
		if err != nil {
			continue
		}
		var spec struct{ Annotations map[string]string }
		if err := json.Unmarshal(text, &spec); err == nil && spec.Annotations["io.kubernetes.cri.sandbox-name"] == pod {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(dir)))
			if err != nil {
				t.Fatal(err)
			}
			return pid
		}
	}
	t.Fatalf("pod %s has no shim", pod)
	return 0
}
