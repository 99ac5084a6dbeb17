package e2e

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"hyperkube/internal/runtime/pause"
)

// containerdConfig is that of a distribution's containerd, with directories of its own.
const containerdConfig = `version = 2
root = "%[1]s/root"
state = "%[1]s/run"
[grpc]
  address = "%[1]s/sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "registry.k8s.io/pause:3.6"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "%[1]s/cni/bin"
    conf_dir = "%[1]s/cni/net.d"
[plugins."io.containerd.internal.v1.opt"]
  path = "%[1]s/opt"
`

// TestForeignRuntime is a cluster on a containerd that is not ours: the distribution's.
func TestForeignRuntime(t *testing.T) {
	h := newHost(t)
	h.engineOnPath("containerd")
	dir := h.path("containerd-theirs")
	config := h.write("containerd-theirs/config.toml", containerdConfig, dir)
	before := h.kernel()
	theirs := start(t, h.command("containerd", "--config", config))
	theirs.expect("containerd successfully booted")
	archive, err := pause.Archive("registry.k8s.io/pause:3.6", runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	h.run("images", "import", "--address", dir+"/sock", h.write("pause.tar", "%s", archive))
	data := h.path("node")
	h.run("up", "--detach", "--data-dir", data, "--node-name", "one", "--container-runtime-endpoint", "unix://"+dir+"/sock",
		"--cni-conf-dir", dir+"/cni/net.d", "--cni-bin-dir", dir+"/cni/bin")
	t.Cleanup(func() { _, _ = h.try("reset", "--data-dir", data) })
	if err := os.Symlink(filepath.Join(data, "admin.kubeconfig"), h.path("admin.kubeconfig")); err != nil {
		t.Fatal(err)
	}
	h.importImage("--address", dir+"/sock")
	if got := h.kubectl("get", "node", "one", "-o", "jsonpath={.status.nodeInfo.containerRuntimeVersion}"); !strings.HasPrefix(got, "containerd://") || strings.HasPrefix(got, "containerd://2.") {
		t.Errorf("the node's runtime is %q", got)
	}
	h.kubectl("create", "deployment", "web", "--image="+webImage, "--replicas=2")
	if _, err := h.try("kubectl", "rollout", "status", "deployment/web", "--timeout=20s"); err != nil {
		a, _ := h.try("kubectl", "get", "pods", "-o", "wide")
		b, _ := h.try("kubectl", "get", "events", "-A")
		x, _ := os.ReadFile(filepath.Join(data, "hyperkube.log"))
		t.Fatalf("%s\n%s\n%s\n%s", a, b, x[max(0, len(x)-3000):], theirs.said()[max(0, len(theirs.said())-2500):])
	}
	h.kubectl("expose", "deployment", "web", "--port=80", "--target-port=8080")
	if got := h.kubectl("exec", "deployment/web", "--", "/webapp", "await", "http://web.default.svc.cluster.local/"); !strings.HasPrefix(got, "v1 web-") {
		t.Errorf("by name, from a pod: %q", got)
	}
	if got := h.kubectl("logs", "deployment/web"); !strings.Contains(got, "serving v1") {
		t.Errorf("logs: %q", got)
	}
	h.run("reset", "--data-dir", data)
	for _, gone := range []string{data, dir + "/cni/net.d/10-hyperkube.conflist", dir + "/cni/bin/hyperkube-cni"} {
		if _, err := os.Stat(gone); !os.IsNotExist(err) {
			t.Errorf("reset left %s: %v", gone, err)
		}
	}
	if out, err := h.command("ctr", "--address", dir+"/sock", "--namespace", "k8s.io", "containers", "list", "--quiet").CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("reset left containers: %v: %s", err, out)
	}
	if after := h.kernel(); after != before {
		t.Errorf("reset left\n%s\nbefore there was\n%s", after, before)
	}
}
