package node_test

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/client"
	"hyperkube/internal/node"
	"hyperkube/internal/node/cgroup"
	"hyperkube/internal/node/cri"
	"hyperkube/internal/node/server"
	"hyperkube/internal/pki"
	"hyperkube/internal/runtime"
	"hyperkube/internal/server/servertest"
	"hyperkube/internal/testenv"
)

const (
	containerEnv = "HYPERKUBE_TEST_CONTAINER"
	image        = "example.test/own:1"
	cgroupRoot   = "/hyperkube-node-test"
)

// TestMain is also the program in the containers.
func TestMain(m *testing.M) {
	if os.Getenv(containerEnv) != "" {
		inContainer(os.Args[1], os.Args[2:])
	}
	code := m.Run()
	if machine != nil {
		machine.close()
	}
	os.Exit(code)
}

func inContainer(what string, args []string) {
	switch what {
	case "run":
		term := make(chan os.Signal, 1)
		signal.Notify(term, syscall.SIGTERM)
		fmt.Println("hello", strings.Join(args, " "))
		<-term
		fmt.Println("got SIGTERM")
	case "ignore":
		signal.Ignore(syscall.SIGTERM)
		time.Sleep(time.Hour)
	case "exit":
		_ = os.WriteFile("/dev/termination-log", []byte("said: "+args[0]), 0o644)
		fmt.Println("exits with", args[0])
		if args[0] != "0" {
			os.Exit(3)
		}
	case "cat":
		for _, f := range args {
			b, err := os.ReadFile(f)
			fmt.Printf("%s=%s %v\n", f, b, err)
		}
	case "exists":
		if _, err := os.Stat(args[0]); err != nil {
			os.Exit(1)
		}
	case "touch":
		_ = os.WriteFile(args[0], nil, 0o644)
	case "remove":
		_ = os.Remove(args[0])
	case "echo":
		_, _ = io.Copy(os.Stdout, os.Stdin)
		fmt.Fprintln(os.Stderr, "done")
		os.Exit(7)
	}
	os.Exit(0)
}

// machine is the container runtime of all tests: containerd can start once in a process.
var machine *testMachine

type testMachine struct {
	dir string
	rt  *runtime.Runtime
	cri *cri.Client
}

func (m *testMachine) close() {
	m.cri.Close()
	m.rt.Stop()
	if h, err := cgroup.Detect(); err == nil {
		_ = h.Destroy(context.Background(), cgroupRoot)
	}
	_ = runtime.Cleanup(context.Background(), runtime.CleanupConfig{Root: m.dir + "/root", State: m.dir + "/state"})
	_ = os.RemoveAll(m.dir)
}

func startMachine(t *testing.T) *testMachine {
	t.Helper()
	testenv.NeedRoot(t)
	if machine != nil {
		return machine
	}
	dir, err := os.MkdirTemp("", "hkn")
	if err != nil {
		t.Fatal(err)
	}
	socket := dir + "/c.sock"
	r, err := runtime.Start(t.Context(), runtime.Config{Root: dir + "/root", State: dir + "/state", Socket: socket})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := runtime.ImportImages(t.Context(), socket, ownImage(t)); err != nil {
		t.Fatal(err)
	}
	c, err := cri.Dial("unix://"+socket, "")
	if err != nil {
		t.Fatal(err)
	}
	machine = &testMachine{dir, r, c}
	return machine
}

func ownImage(t *testing.T) io.Reader {
	t.Helper()
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	for _, h := range []tar.Header{{Name: "own", Mode: 0o755, Size: int64(len(self))}, {Name: "tmp", Typeflag: tar.TypeDir, Mode: 0o777}} {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := w.Write(self); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	img, err := mutate.AppendLayers(empty.Image, l)
	if err == nil {
		img, err = mutate.Config(img, v1.Config{Entrypoint: []string{"/own"}, Env: []string{containerEnv + "=yes"}})
	}
	if err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag(image)
	if err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	if err := tarball.Write(tag, img, &archive); err != nil {
		t.Fatal(err)
	}
	return &archive
}

// world is a kubelet with its API.
type world struct {
	t    *testing.T
	api  client.Interface
	cfg  node.Config
	k    *node.Kubelet
	stop func()
}

func newWorld(t *testing.T) *world {
	m := startMachine(t)
	dir, err := os.MkdirTemp("", "hkl")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, api: servertest.Start(t, nil).Admin(), cfg: node.Config{
		CRI: m.cri, NodeName: "n1", NodeIPs: []string{"127.0.0.1"}, RootDir: dir + "/root", PodLogsDir: dir + "/logs", CgroupRoot: cgroupRoot,
	}}
	w.cfg.Client = w.api
	t.Cleanup(func() {
		w.removePods()
		if w.stop != nil {
			w.stop()
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *world) start() {
	w.t.Helper()
	k, err := node.New(w.cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- k.Run(ctx) }()
	w.k = k
	w.stop = func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
		w.stop = nil
	}
}

func (w *world) removePods() {
	if w.stop == nil {
		w.start()
	}
	l, _ := w.api.List(context.Background(), client.Pods.GVR, "", metav1.ListOptions{})
	zero := int64(1)
	for _, p := range l.Items {
		_ = w.api.Delete(context.Background(), client.Pods.GVR, p.GetNamespace(), p.GetName(), metav1.DeleteOptions{GracePeriodSeconds: &zero})
	}
	w.eventually("no pods in the runtime", func() string {
		pods, err := w.cfg.CRI.Pods(context.Background())
		if err != nil || len(pods) > 0 {
			return fmt.Sprint(len(pods), " pods ", err)
		}
		return ""
	})
}

// eventually waits until problem says nothing.
func (w *world) eventually(what string, problem func() string) {
	w.t.Helper()
	deadline := time.Now().Add(40 * time.Second)
	for {
		p := problem()
		if p == "" {
			return
		}
		if time.Now().After(deadline) {
			w.t.Errorf("%s: %s", what, p)
			w.t.FailNow()
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func pod(name string, containers ...corev1.Container) *corev1.Pod {
	grace := int64(5)
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec: corev1.PodSpec{NodeName: "n1", HostNetwork: true, RestartPolicy: corev1.RestartPolicyAlways, TerminationGracePeriodSeconds: &grace, Containers: containers}}
	return p
}

func container(name string, args ...string) corev1.Container {
	return corev1.Container{Name: name, Image: image, Args: args, TerminationMessagePath: "/dev/termination-log", TerminationMessagePolicy: corev1.TerminationMessageReadFile}
}

func (w *world) create(p *corev1.Pod) {
	w.t.Helper()
	if _, err := client.Pods.Create(w.t.Context(), w.api, p); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) get(name string) *corev1.Pod {
	p, err := client.Pods.Get(w.t.Context(), w.api, "default", name)
	if err != nil {
		return &corev1.Pod{}
	}
	return p
}

func (w *world) await(name string, what string, ok func(p *corev1.Pod) bool) *corev1.Pod {
	w.t.Helper()
	var p *corev1.Pod
	w.eventually(name+" "+what, func() string {
		if p = w.get(name); ok(p) {
			return ""
		}
		return fmt.Sprintf("phase %s, init %+v, containers %+v, conditions %+v", p.Status.Phase, p.Status.InitContainerStatuses, p.Status.ContainerStatuses, p.Status.Conditions)
	})
	return p
}

func isReady(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func (w *world) awaitGone(name string) {
	w.t.Helper()
	w.eventually(name+" gone", func() string {
		if _, err := client.Pods.Get(w.t.Context(), w.api, "default", name); !apierrors.IsNotFound(err) {
			return fmt.Sprint(err)
		}
		return ""
	})
}

// TestLife runs pods from creation to deletion, over a restart of the kubelet.
func TestLife(t *testing.T) {
	w := newWorld(t)
	w.start()
	from := time.Now()
	w.create(pod("web", container("c", "run", "world")))
	p := w.await("web", "ready", isReady)
	t.Log("ready after", time.Since(from))
	if p.Status.Phase != corev1.PodRunning || p.Status.HostIP != "127.0.0.1" || p.Status.PodIP != "127.0.0.1" || p.Status.ObservedGeneration != 1 {
		t.Errorf("%+v", p.Status)
	}
	id := p.Status.ContainerStatuses[0].ContainerID
	if !strings.HasPrefix(id, "containerd://") || p.Status.ContainerStatuses[0].State.Running == nil {
		t.Errorf("%+v", p.Status.ContainerStatuses)
	}

	w.stop()
	w.start()
	w.create(pod("loop", container("c", "exit", "0")))
	w.create(func() *corev1.Pod {
		p := pod("fails", container("c", "exit", "1"))
		p.Spec.RestartPolicy = corev1.RestartPolicyNever
		return p
	}())
	fails := w.await("fails", "failed", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodFailed })
	if s := fails.Status.ContainerStatuses[0].State.Terminated; s == nil || s.ExitCode != 3 || s.Reason != "Error" || s.Message != "said: 1" {
		t.Errorf("%+v", fails.Status.ContainerStatuses[0])
	}
	w.await("loop", "in its restart delay", func(p *corev1.Pod) bool {
		return len(p.Status.ContainerStatuses) > 0 && p.Status.ContainerStatuses[0].State.Waiting != nil && p.Status.ContainerStatuses[0].State.Waiting.Reason == "CrashLoopBackOff"
	})
	if p = w.get("web"); p.Status.ContainerStatuses[0].ContainerID != id || p.Status.ContainerStatuses[0].RestartCount != 0 || !isReady(p) {
		t.Errorf("not taken over: %+v", p.Status.ContainerStatuses)
	}
	from = time.Now()
	if err := client.Pods.Delete(t.Context(), w.api, "default", "web"); err != nil {
		t.Fatal(err)
	}
	w.awaitGone("web")
	t.Log("gone after", time.Since(from))
	for _, left := range []string{w.cfg.RootDir + "/pods/" + string(p.UID), w.cfg.PodLogsDir + "/default_web_" + string(p.UID)} {
		w.eventually(left+" removed", func() string {
			if _, err := os.Stat(left); !os.IsNotExist(err) {
				return fmt.Sprint(err)
			}
			return ""
		})
	}
}

// TestInitAndSidecars checks the order of starting and stopping.
func TestInitAndSidecars(t *testing.T) {
	w := newWorld(t)
	w.start()
	always := corev1.ContainerRestartPolicyAlways
	p := pod("order", container("main", "exists", "/v/two"))
	p.Spec.RestartPolicy = corev1.RestartPolicyNever
	p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
	mount := []corev1.VolumeMount{{Name: "v", MountPath: "/v"}}
	one, side, two := container("one", "touch", "/v/one"), container("side", "run"), container("two", "touch", "/v/two")
	side.RestartPolicy = &always
	side.StartupProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"/own", "exists", "/v/one"}}}, PeriodSeconds: 1, FailureThreshold: 5, SuccessThreshold: 1, TimeoutSeconds: 5}
	p.Spec.InitContainers = []corev1.Container{one, side, two}
	for _, l := range [][]corev1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for i := range l {
			l[i].VolumeMounts = mount
		}
	}
	w.create(p)
	got := w.await("order", "succeeded", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodSucceeded })
	st := got.Status.InitContainerStatuses
	if st[1].State.Terminated == nil || st[1].State.Terminated.ExitCode != 0 {
		t.Errorf("the sidecar was not stopped gracefully: %+v", st[1])
	}
	if a, b, c := st[0].State.Terminated.FinishedAt, st[1].State.Terminated.StartedAt, st[2].State.Terminated.StartedAt; a.After(b.Time) || b.After(c.Time) {
		t.Errorf("order: one ended %v, side started %v, two started %v", a, b, c)
	}
}

// TestConfigAndProbes checks environment, config volumes and their updates, probes, hooks and restarts.
func TestConfigAndProbes(t *testing.T) {
	w := newWorld(t)
	w.start()
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "cm"}, Data: map[string]string{"k": "v1"}}
	c := container("c", "run", "$(K)")
	ref := corev1.LocalObjectReference{Name: "cm"}
	c.Env = []corev1.EnvVar{{Name: "K", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: ref, Key: "k"}}}}
	c.VolumeMounts = []corev1.VolumeMount{{Name: "cfg", MountPath: "/cfg"}}
	probe := func(file string) *corev1.Probe {
		return &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"/own", "exists", file}}}, PeriodSeconds: 1, FailureThreshold: 1, SuccessThreshold: 1, TimeoutSeconds: 5}
	}
	c.ReadinessProbe, c.LivenessProbe = probe("/cfg/ready"), probe("/tmp/alive")
	c.Lifecycle = &corev1.Lifecycle{PostStart: &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"/own", "touch", "/tmp/alive"}}}}
	p := pod("cfg", c)
	p.Spec.Volumes = []corev1.Volume{{Name: "cfg", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: ref}}}}
	w.create(p)
	w.eventually("the pod waits for its config map", func() string {
		if _, ok := w.k.Pods().Find("default", "cfg", ""); !ok {
			return "not known"
		}
		return ""
	})
	if _, err := client.ConfigMaps.Create(t.Context(), w.api, cm); err != nil {
		t.Fatal(err)
	}
	got := w.await("cfg", "running", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodRunning })
	if isReady(got) {
		t.Error("ready without the readiness probe")
	}
	next := cm.DeepCopy()
	next.Data["ready"] = "yes"
	if _, err := client.ConfigMaps.Update(t.Context(), w.api, next); err != nil {
		t.Fatal(err)
	}
	got = w.await("cfg", "ready", isReady)
	id := got.Status.ContainerStatuses[0].ContainerID
	if out, code, err := w.k.Pods().Exec(t.Context(), strings.TrimPrefix(id, "containerd://"), []string{"/own", "remove", "/tmp/alive"}, time.Second); err != nil || code != 0 {
		t.Fatalf("%s %d %v", out, code, err)
	}
	got = w.await("cfg", "restarted", func(p *corev1.Pod) bool {
		s := p.Status.ContainerStatuses[0]
		return s.RestartCount == 1 && s.State.Running != nil && s.ContainerID != id
	})
	if s := got.Status.ContainerStatuses[0]; s.LastTerminationState.Terminated == nil {
		t.Errorf("no last state: %+v", s)
	}
}

// TestServer reads logs and runs commands over the kubelet's API.
func TestServer(t *testing.T) {
	w := newWorld(t)
	cert, err := pki.SelfSigned("n1", []string{"n1"}, nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	port := testenv.FreePort(t)
	w.cfg.Server = &server.Config{Address: "127.0.0.1", Port: int32(port), TLS: server.TLS{Certificate: server.Fixed(&cert)}}
	w.start()
	w.create(pod("web", container("c", "run", "world")))
	w.await("web", "ready", isReady)
	base := fmt.Sprintf("https://127.0.0.1:%d", port)
	get := func(path string) string {
		t.Helper()
		resp, err := insecure().Get(base + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s %s %v", path, resp.Status, b, err)
		}
		return string(b)
	}
	w.eventually("log", func() string {
		if s := get("/containerLogs/default/web/c"); s != "hello world\n" {
			return s
		}
		return ""
	})
	for path, want := range map[string]string{
		"/healthz": "ok", "/pods": `"name":"web"`, "/runningpods/": `"name":"web"`, "/metrics": "kubelet_running_pods 1", "/metrics/cadvisor": "container_memory_working_set_bytes",
		"/metrics/resource": `container_cpu_usage_seconds_total{container="c"`, "/stats/summary": `"podRef":{"name":"web"`, "/configz": "kubeletconfig",
	} {
		if s := get(path); !strings.Contains(s, want) {
			t.Errorf("%s: no %q in %s", path, want, s)
		}
	}
	testStreams(t, base)
	testForward(t, base)
}
