package e2e

import (
	"os"
	"strings"
	"testing"
)

// TestCluster is the life of a cluster: start, deploy, stop, start again, remove.
func TestCluster(t *testing.T) {
	h := newHost(t)
	before := h.kernel()
	if out := h.run("up", "--detach", "--data-dir", h.data, "--node-name", "one"); !strings.Contains(out, "node one is Ready") {
		t.Fatalf("up printed %q", out)
	}
	h.importImage()
	h.kubectl("wait", "--for=condition=Ready", "node/one", "--timeout=20s")

	h.kubectl("create", "deployment", "web", "--image="+webImage, "--replicas=3", "--", "/webapp", "serve", "v1")
	h.kubectl("rollout", "status", "deployment/web", "--timeout=50s")
	h.kubectl("expose", "deployment", "web", "--port=80", "--target-port=8080")
	url := "http://" + h.kubectl("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}") + "/"
	has(t, url, h.await(url), "v1 web-")

	running := []string{"get", "pods", "-l", "app=web", "-o", "jsonpath={range .items[*]}{.metadata.uid} {.status.containerStatuses[0].containerID}{\"\\n\"}{end}"}
	pods := strings.Split(strings.TrimSpace(h.kubectl(running...)), "\n")
	h.run("down", "--data-dir", h.data)
	h.fetches(url, "v1 web-") // containers and the network go on
	h.run("up", "--detach", "--data-dir", h.data, "--node-name", "one")
	h.kubectl("wait", "--for=condition=Ready", "pod", "-l", "app=web", "--timeout=20s")
	has(t, "the pods after a restart", h.kubectl(running...), pods...)
	h.fetches(url, "v1 web-")

	h.kubectl("delete", "service,deployment", "web")
	h.kubectl("wait", "--for=delete", "pod", "-l", "app=web", "--timeout=50s")
	h.run("reset", "--data-dir", h.data)
	if _, err := os.Stat(h.data); !os.IsNotExist(err) {
		t.Errorf("the data directory is still there: %v", err)
	}
	if after := h.kernel(); after != before {
		t.Errorf("reset left\n%s\nbefore there was\n%s", after, before)
	}
}
