package e2e

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"hyperkube/internal/cluster"
)

const imageRef = "hyperkube:test"

// TestDocker loads the image into a Docker engine: an API server runs against an etcd beside it, and a whole cluster in one container.
func TestDocker(t *testing.T) {
	h := newHost(t)
	d := h.docker()
	h.loadImage(d)
	t.Run("apiserver beside etcd", func(t *testing.T) { h.on(t).besides(d) })
	t.Run("up", func(t *testing.T) { h.on(t).upInDocker(d) })
}

// engine is a Docker engine in a machine's network.
type engine struct {
	h      *host
	client string
}

// docker starts an engine of the test's own.
func (h *host) docker() *engine {
	h.t.Helper()
	h.engineOnPath("dockerd")
	dir := h.path("docker")
	cmd := h.command("dockerd", "--data-root", dir+"/data", "--exec-root", dir+"/run", "--pidfile", dir+"/pid", "--host", "unix://"+dir+"/sock",
		"--userland-proxy=false", "--cgroup-parent", h.cgroup(), "--exec-opt", "native.cgroupdriver=cgroupfs")
	if err := os.MkdirAll(dir, 0o711); err != nil {
		h.t.Fatal(err)
	}
	start(h.t, cmd).expect("API listen on")
	h.t.Cleanup(h.endDocker)
	return &engine{h, "unix://" + dir + "/sock"}
}

// engineOnPath lets the test start programs of the distribution's container engines. Where there are none it fails under CI=true, and is
// skipped elsewhere.
func (h *host) engineOnPath(program string) {
	h.t.Helper()
	root, err := filepath.Abs("../build/docker")
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Setenv("PATH", strings.Join([]string{root + "/usr/sbin", root + "/usr/bin", os.Getenv("PATH")}, ":"))
	if _, err := exec.LookPath(program); err == nil {
		return
	}
	if os.Getenv("CI") == "true" {
		h.t.Fatalf("there is no %s on this machine: run scripts/setup-docker", program)
	}
	h.t.Skipf("there is no %s on this machine: run scripts/setup-docker", program)
}

// command is one in the machine's network, without a bound in time.
func (h *host) command(name string, args ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{"--net=/run/netns/" + h.ns, name}, args...)...)
}

// run gives what docker prints.
func (d *engine) run(stdin []byte, args ...string) string {
	d.h.t.Helper()
	cmd := d.h.in("docker", append([]string{"--host", d.client}, args...)...)
	cmd.Stdin = bytes.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		d.h.t.Fatalf("docker %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// follow is what a container says.
func (d *engine) follow(name string) *process {
	return start(d.h.t, d.h.command("docker", "--host", d.client, "logs", "--follow", name))
}

func (d *engine) on(h *host) *engine { return &engine{h, d.client} }

func (h *host) loadImage(d *engine) {
	h.t.Helper()
	tar := filepath.Join(h.t.TempDir(), "image.tar")
	if out, err := exec.Command("go", "run", "../scripts/image", h.bin, tar, "docker.io/library/"+imageRef).CombinedOutput(); err != nil {
		h.t.Fatalf("packing the image: %v: %s", err, out)
	}
	if got := d.run(nil, "load", "--input", tar); !strings.Contains(got, imageRef) {
		h.t.Fatalf("docker load printed %q", got)
	}
	if got := d.run(nil, "run", "--rm", imageRef, "kubelet", "--version"); got != "Kubernetes v1.37.2\n" {
		h.t.Errorf("a role by its arguments: %q", got)
	}
}

// besides runs an API server beside an etcd, each in a container, and takes it away and brings it back.
func (h *host) besides(d *engine) {
	d = d.on(h)
	h.run("certs", "init", "--cert-dir", h.path("pki"), "--node-ip", h.ip)
	h.run("certs", "kubeconfig", "--cert-dir", h.path("pki"), "--server", "https://"+h.ip+":6443", "--cert", "admin", "--out", h.path("admin.kubeconfig"))
	d.run(nil, "network", "create", "k8s")
	d.run(nil, "run", "--detach", "--name", "etcd", "--network", "k8s", imageRef,
		"etcd", "--data-dir=/etcd", "--listen-client-urls=http://0.0.0.0:2379", "--advertise-client-urls=http://etcd:2379")
	d.run(nil, "run", "--detach", "--name", "apiserver", "--network", "k8s", "--publish", "6443:6443", "--volume", h.path("pki")+":/pki:ro", imageRef,
		"apiserver", "--etcd-servers=http://etcd:2379", "--client-ca-file=/pki/ca.crt", "--tls-cert-file=/pki/apiserver.crt", "--tls-private-key-file=/pki/apiserver.key",
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file=/pki/sa.pub", "--service-account-signing-key-file=/pki/sa.key")
	api := d.follow("apiserver")
	api.expect("API server is ready")
	h.kubectl("create", "configmap", "kept", "--from-literal=a=b")
	d.run(nil, "restart", "--time", "10", "apiserver")
	api = d.follow("apiserver") // from the beginning
	api.expect("API server is ready")
	api.expect("API server is ready")
	if got := h.kubectl("get", "configmap", "kept", "-o", "jsonpath={.data.a}"); got != "b" {
		h.t.Errorf("after a restart: %q", got)
	}
	d.run(nil, "rm", "--force", "apiserver", "etcd")
}

// upInDocker runs a whole cluster in one container, and pods in it.
func (h *host) upInDocker(d *engine) {
	d = d.on(h)
	args := []string{"run", "--detach", "--name", "up", "--hostname", "one", "--tmpfs", "/run", "--volume", h.dockerData()}
	args = append(append(args, privileged()...), imageRef, "up", "--data-dir", h.dockerData())
	d.run(nil, args...)
	d.follow("up").expect("node one is Ready")
	in := func(args ...string) string {
		h.t.Helper()
		return d.run(nil, append([]string{"exec", "up", "hyperkube", "kubectl", "--kubeconfig", h.dockerData() + "/admin.kubeconfig"}, args...)...)
	}
	archive, err := os.ReadFile(h.archive())
	if err != nil {
		h.t.Fatal(err)
	}
	d.run(archive, "exec", "--interactive", "up", "hyperkube", "images", "import", "--data-dir", h.dockerData(), "-")
	in("create", "deployment", "web", "--image="+webImage, "--replicas=2")
	in("rollout", "status", "deployment/web", "--timeout=40s")
	in("expose", "deployment", "web", "--port=80", "--target-port=8080")
	if got := in("exec", "deployment/web", "--", "/webapp", "await", "http://web.default.svc.cluster.local/"); !strings.HasPrefix(got, "v1 web-") {
		h.t.Errorf("by name, from a pod: %q", got)
	}
	d.run(nil, "stop", "--time", "30", "up")
	if code := strings.TrimSpace(d.run(nil, "inspect", "--format", "{{.State.ExitCode}}", "up")); code != "0" {
		h.t.Errorf("docker stop ended it with %s", code)
	}
}

// dockerData is the data directory in the container: its name becomes that of the cluster's cgroup, which is seen outside.
func (h *host) dockerData() string { return "/var/lib/" + h.ns }

// privileged are the flags of a container that may do everything: --privileged, or what is next to it where this machine
// itself may not do everything.
func privileged() []string {
	status, err := os.ReadFile("/proc/self/status")
	if err == nil {
		for line := range strings.Lines(string(status)) {
			if caps, ok := strings.CutPrefix(line, "CapBnd:"); ok {
				const resource = 1 << 24 // CAP_SYS_RESOURCE
				if n, err := strconv.ParseUint(strings.TrimSpace(caps), 16, 64); err == nil && n&resource != 0 {
					return []string{"--privileged"}
				}
			}
		}
	}
	return []string{
		"--cap-add=ALL", "--cap-drop=SYS_RESOURCE", "--security-opt", "seccomp=unconfined", "--security-opt", "systempaths=unconfined",
		"--device-cgroup-rule", "a *:* rwm", "--volume", "/sys/fs/cgroup:/sys/fs/cgroup:rw",
	}
}

// endDocker removes every container of the test's engine, also of a test that was killed.
func (h *host) endDocker() {
	if _, err := os.Stat(h.path("docker")); err != nil {
		return
	}
	groups := []string{h.cgroup()}
	if l, err := cluster.NewLayout(h.dockerData(), ""); err == nil {
		groups = append(groups, l.CgroupParent())
	}
	h.killNetwork()
	for _, g := range groups {
		h.endCgroup(g)
	}
	h.unmount()
}

// endCgroup ends the processes of a cgroup in every hierarchy, and removes it.
func (h *host) endCgroup(name string) {
	tops, _ := filepath.Glob("/sys/fs/cgroup/*" + name) // the pattern is good
	for _, top := range append(tops, "/sys/fs/cgroup"+name) {
		var dirs []string
		_ = filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return nil // it may be gone
		})
		for i := len(dirs) - 1; i >= 0; i-- {
			h.endProcesses(dirs[i])
			if err := os.Remove(dirs[i]); err != nil && !errors.Is(err, fs.ErrNotExist) {
				h.t.Logf("cgroup: %v", err)
			}
		}
	}
}

// endProcesses kills those of one cgroup until none is left.
func (h *host) endProcesses(dir string) {
	for range 50 {
		data, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		pids := strings.Fields(string(data))
		if err != nil || len(pids) == 0 {
			return
		}
		for _, pid := range pids {
			_ = exec.Command("kill", "-9", pid).Run() // it may have ended
		}
		// A killed process stays in the list until its parent has taken note.
		_ = exec.Command("timeout", "0.1", "tail", "--pid="+pids[0], "-f", "/dev/null").Run()
	}
}
