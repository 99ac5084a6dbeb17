package e2e

import (
	"os"
	"strings"
	"testing"
)

// TestCluster is the first day of a user: start, deploy, expose, look inside, change, stop, start again, remove.
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
	h.kubectl("expose", "deployment", "web", "--port=80", "--target-port=8080", "--type=NodePort")
	cluster := h.kubectl("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")
	node := h.kubectl("get", "service", "web", "-o", "jsonpath={.spec.ports[0].nodePort}")
	for _, url := range []string{"http://" + cluster + "/", "http://" + h.ip + ":" + node + "/"} {
		if got, err := h.fetch(url); err != nil || !strings.HasPrefix(got, "v1 web-") {
			t.Errorf("%s: %q, %v", url, got, err)
		}
	}
	pod := strings.TrimSpace(h.kubectl("get", "pods", "-l", "app=web", "-o", "jsonpath={.items[0].metadata.name}"))
	if got := h.kubectl("exec", pod, "--", "/webapp", "get", "http://web.default.svc.cluster.local/"); !strings.HasPrefix(got, "v1 web-") {
		t.Errorf("by name, from a pod: %q", got)
	}
	if got := h.kubectl("logs", pod); !strings.Contains(got, "serving v1") {
		t.Errorf("logs: %q", got)
	}
	if got := h.kubectl("get", "--raw", "/api/v1/namespaces/default/services/web/proxy/"); !strings.HasPrefix(got, "v1 web-") {
		t.Errorf("by the API server's proxy: %q", got)
	}

	h.kubectl("scale", "deployment/web", "--replicas=2")
	first := strings.Fields(h.kubectl("get", "pods", "-l", "app=web", "-o", "name"))
	h.kubectl("patch", "deployment", "web", "--type=json", `-p=[{"op":"replace","path":"/spec/template/spec/containers/0/command","value":["/webapp","serve","v2"]}]`)
	h.kubectl("rollout", "status", "deployment/web", "--timeout=50s")
	if got, err := h.fetch("http://" + cluster + "/"); err != nil || !strings.HasPrefix(got, "v2 web-") {
		t.Errorf("after the change: %q, %v", got, err)
	}

	h.kubectl(append([]string{"wait", "--for=delete", "--timeout=50s"}, first...)...)
	pods := h.kubectl("get", "pods", "-l", "app=web", "--field-selector=status.phase=Running", "-o", "jsonpath={range .items[*]}{.metadata.uid} {.status.containerStatuses[0].containerID}{\"\\n\"}{end}")
	h.run("down", "--data-dir", h.data)
	if got, err := h.fetch("http://" + cluster + "/"); err != nil || !strings.HasPrefix(got, "v2 web-") {
		t.Errorf("while the process is down: %q, %v", got, err)
	}
	h.run("up", "--detach", "--data-dir", h.data, "--node-name", "one")
	h.kubectl("wait", "--for=condition=Ready", "pod", "-l", "app=web", "--timeout=20s")
	for _, line := range strings.Split(strings.TrimSpace(pods), "\n") {
		if again := h.kubectl("get", "pods", "-l", "app=web", "-o", "jsonpath={range .items[*]}{.metadata.uid} {.status.containerStatuses[0].containerID}{\"\\n\"}{end}"); !strings.Contains(again, line) {
			t.Errorf("after a restart the pods are\n%s, without\n%s", again, line)
		}
	}

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
