package runtime

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"hyperkube/internal/testenv"
)

const (
	daemonEnv = "HYPERKUBE_TEST_RUNTIME"
	testImage = "example.test/own:1"
)

// TestMain doubles as the daemon, since containerd can start once in a process.
func TestMain(m *testing.M) {
	if dir := os.Getenv(daemonEnv); dir != "" {
		daemon(dir)
	}
	os.Exit(m.Run())
}

func daemon(dir string) {
	from := time.Now()
	r, err := Start(context.Background(), testConfig(dir))
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	fmt.Println("ready", time.Since(from))
	io.Copy(io.Discard, os.Stdin)
	r.Stop()
	os.Exit(0)
}

func testConfig(dir string) Config {
	return Config{Root: dir + "/root", State: dir + "/state", Socket: dir + "/containerd.sock", RegistryDir: dir + "/certs.d"}
}

// startDaemon runs a daemon in a process of its own until the returned function is called.
func startDaemon(t *testing.T, dir string) (stop func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), daemonEnv+"="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4096)
	n, _ := out.Read(buf)
	if line := string(buf[:n]); !strings.HasPrefix(line, "ready") {
		t.Fatalf("the daemon did not start: %s", line)
	} else {
		t.Log(strings.TrimSpace(line))
	}
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the daemon ended: %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

// ownImage is testdata/own as an image.
func ownImage(t *testing.T) v1.Image {
	t.Helper()
	file := filepath.Join(t.TempDir(), "own")
	build := exec.Command("go", "build", "-ldflags=-s -w", "-o", file, "./testdata/own")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	self, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	if err := w.WriteHeader(&tar.Header{Name: "own", Mode: 0o755, Size: int64(len(self))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(self); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	img, err := mutate.AppendLayers(empty.Image, l)
	if err != nil {
		t.Fatal(err)
	}
	if img, err = mutate.Config(img, v1.Config{Entrypoint: []string{"/own"}}); err != nil {
		t.Fatal(err)
	}
	return img
}

// archive writes an image in docker's format, compressed.
func archive(t *testing.T, img v1.Image, ref string) io.Reader {
	t.Helper()
	tag, err := name.NewTag(ref)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if err := tarball.Write(tag, img, z); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return &b
}

// shortDir is a directory whose name leaves room for unix sockets.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "hkrt")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := Cleanup(context.Background(), CleanupConfig{Root: dir + "/root", State: dir + "/state"}); err != nil {
			t.Error(err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestContainersOutliveTheDaemonAndCleanupEndsThem(t *testing.T) {
	testenv.NeedRoot(t)
	dir := shortDir(t)
	cfg := testConfig(dir)
	stop := startDaemon(t, dir)
	names, err := ImportImages(t.Context(), cfg.Socket, archive(t, ownImage(t), testImage))
	if err != nil || len(names) != 1 || names[0] != testImage {
		t.Fatalf("imported %v, %v", names, err)
	}
	sandbox, container := runPod(t, cfg.Socket, dir)
	checkLog(t, filepath.Join(dir, "logs", "c.log"), "hello from the container")
	checkExec(t, cfg.Socket, container)

	stop()
	startAgain := startDaemon(t, dir)
	rs, _, closer := dial(t, cfg.Socket)
	st, err := rs.ContainerStatus(t.Context(), &cri.ContainerStatusRequest{ContainerId: container})
	if err != nil || st.Status.State != cri.ContainerState_CONTAINER_RUNNING {
		t.Fatalf("after a restart of the daemon: %v, %v", st, err)
	}
	ss, err := rs.PodSandboxStatus(t.Context(), &cri.PodSandboxStatusRequest{PodSandboxId: sandbox})
	if err != nil || ss.Status.State != cri.PodSandboxState_SANDBOX_READY {
		t.Fatalf("after a restart of the daemon: %v, %v", ss, err)
	}
	checkExec(t, cfg.Socket, container)
	closer.Close()

	if len(processesBelow(t, dir)) == 0 {
		t.Fatal("no shim is found below the state directory: the checks below prove nothing")
	}
	startAgain()
	if err := Cleanup(t.Context(), CleanupConfig{Root: cfg.Root, State: cfg.State, CgroupParent: "/hyperkube-runtime-test"}); err != nil {
		t.Fatal(err)
	}
	if p := processesBelow(t, dir); len(p) > 0 {
		t.Errorf("processes are left: %v", p)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(mounts), dir) {
		t.Errorf("mounts are left:\n%s", mounts)
	}
	for _, pattern := range []string{"/sys/fs/cgroup/hyperkube-runtime-test", "/sys/fs/cgroup/*/hyperkube-runtime-test"} {
		if left, _ := filepath.Glob(pattern); len(left) > 0 {
			t.Errorf("cgroups are left: %v", left)
		}
	}
}

func dial(t *testing.T, socket string) (cri.RuntimeServiceClient, cri.ImageServiceClient, io.Closer) {
	t.Helper()
	rs, is, closer, err := DialCRI(t.Context(), "unix://"+socket)
	if err != nil {
		t.Fatal(err)
	}
	return rs, is, closer
}

func runPod(t *testing.T, socket, dir string) (sandbox, container string) {
	t.Helper()
	rs, is, closer := dial(t, socket)
	defer closer.Close()
	from := time.Now()
	img, err := is.ImageStatus(t.Context(), &cri.ImageStatusRequest{Image: &cri.ImageSpec{Image: DefaultPauseImage}})
	if err != nil || img.Image == nil || !img.Image.Pinned {
		t.Fatalf("the pause image is not there or not pinned: %v, %v", img, err)
	}
	pod := &cri.PodSandboxConfig{
		Metadata:     &cri.PodSandboxMetadata{Name: "p", Uid: "u", Namespace: "n"},
		LogDirectory: filepath.Join(dir, "logs"),
		Linux: &cri.LinuxPodSandboxConfig{
			CgroupParent:    "/hyperkube-runtime-test/podu",
			SecurityContext: &cri.LinuxSandboxSecurityContext{NamespaceOptions: &cri.NamespaceOption{Network: cri.NamespaceMode_NODE}},
		},
	}
	s, err := rs.RunPodSandbox(t.Context(), &cri.RunPodSandboxRequest{Config: pod})
	if err != nil {
		t.Fatal(err)
	}
	c, err := rs.CreateContainer(t.Context(), &cri.CreateContainerRequest{PodSandboxId: s.PodSandboxId, SandboxConfig: pod, Config: &cri.ContainerConfig{
		Metadata: &cri.ContainerMetadata{Name: "c"},
		Image:    &cri.ImageSpec{Image: testImage},
		Args:     []string{"sleep"},
		LogPath:  "c.log",
		Linux:    &cri.LinuxContainerConfig{Resources: &cri.LinuxContainerResources{MemoryLimitInBytes: 256 << 20, OomScoreAdj: -997}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rs.StartContainer(t.Context(), &cri.StartContainerRequest{ContainerId: c.ContainerId}); err != nil {
		t.Fatal(err)
	}
	t.Log("sandbox and container:", time.Since(from))
	return s.PodSandboxId, c.ContainerId
}

func checkExec(t *testing.T, socket, container string) {
	t.Helper()
	rs, _, closer := dial(t, socket)
	defer closer.Close()
	r, err := rs.ExecSync(t.Context(), &cri.ExecSyncRequest{ContainerId: container, Cmd: []string{"/own", "echo", "some", "words"}, Timeout: 10})
	if err != nil || string(r.Stdout) != "some words\n" {
		t.Errorf("exec: %v, %v", r, err)
	}
}

func checkLog(t *testing.T, path, want string) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		text, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(text), want) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("log %s holds %q, %v", path, text, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// processesBelow lists processes whose working directory or root is below a directory.
func processesBelow(t *testing.T, dir string) (pids []string) {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		if to, err := os.Readlink(l); err == nil && strings.HasPrefix(to, dir) {
			pids = append(pids, filepath.Dir(l))
		}
	}
	return pids
}
