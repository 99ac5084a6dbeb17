package node_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"

	"hyperkube/internal/client"
	"hyperkube/internal/node"
	"hyperkube/internal/testenv"
)

// TestStandalone runs a static pod without an API server.
func TestStandalone(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "pod.yaml")
	text := fmt.Sprintf(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"static"},"spec":{"hostNetwork":true,"terminationGracePeriodSeconds":5,"restartPolicy":"Always",
"containers":[{"name":"c","image":%q,"args":["run"],"imagePullPolicy":"IfNotPresent"}]}}`, image)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := w.cfg
	cfg.Client, cfg.PodManifestPath = nil, dir
	stop := w.startWith(cfg)
	w.eventually("the static pod runs", func() string {
		p, ok := w.k.Pods().Find("default", "static-n1", "")
		if !ok || p.Status.Phase != corev1.PodRunning {
			return fmt.Sprintf("%v %+v", ok, p)
		}
		return ""
	})
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	w.eventually("the static pod is gone", func() string {
		if l := w.k.Pods().Pods(); len(l) > 0 {
			return l[0].Name
		}
		return ""
	})
	stop()
}

// TestMirror shows a static pod in the API and keeps its image there.
func TestMirror(t *testing.T) {
	w := newWorld(t)
	w.cfg.PodManifestPath = t.TempDir()
	text := fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata: {name: static}\nspec:\n  hostNetwork: true\n  terminationGracePeriodSeconds: 2\n  containers:\n  - {name: c, image: %q, args: [run]}\n", image)
	file := filepath.Join(w.cfg.PodManifestPath, "pod.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	w.start()
	first := w.await("static-n1", "ready", isReady)
	if err := client.Pods.Delete(t.Context(), w.api, "default", "static-n1"); err != nil {
		t.Fatal(err)
	}
	again := w.await("static-n1", "back", func(p *corev1.Pod) bool { return p.UID != first.UID && isReady(p) })
	if a, b := first.Status.ContainerStatuses[0].ContainerID, again.Status.ContainerStatuses[0].ContainerID; a != b {
		t.Errorf("the static pod was restarted: %s, %s", a, b)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	w.awaitGone("static-n1")
}

// TestTermination checks grace periods, hooks and a shortened deletion.
func TestTermination(t *testing.T) {
	w := newWorld(t)
	w.start()
	long := int64(120)
	c := container("c", "ignore")
	c.Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"/own", "touch", "/v/stopped"}}}}
	c.VolumeMounts = []corev1.VolumeMount{{Name: "v", MountPath: "/v"}}
	p := pod("stubborn", c)
	dir := t.TempDir()
	p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: dir}}}}
	p.Spec.TerminationGracePeriodSeconds = &long
	w.create(p)
	w.await("stubborn", "ready", isReady)
	if err := client.Pods.Delete(t.Context(), w.api, "default", "stubborn"); err != nil {
		t.Fatal(err)
	}
	w.eventually("the hook ran", func() string {
		if _, err := os.Stat(dir + "/stopped"); err != nil {
			return err.Error()
		}
		return ""
	})
	if g := w.get("stubborn"); g.DeletionTimestamp == nil || !isReady(g) {
		t.Errorf("%+v", g.Status)
	}
	from := time.Now()
	one := int64(1)
	if err := w.api.Delete(t.Context(), client.Pods.GVR, "default", "stubborn", metav1.DeleteOptions{GracePeriodSeconds: &one}); err != nil {
		t.Fatal(err)
	}
	w.awaitGone("stubborn")
	if d := time.Since(from); d > 20*time.Second {
		t.Errorf("a shortened deletion took %v", d)
	}
}

// TestEphemeral adds a container to a pod that runs.
func TestEphemeral(t *testing.T) {
	w := newWorld(t)
	w.start()
	w.create(pod("web", container("c", "run")))
	p := w.await("web", "ready", isReady).DeepCopy()
	p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug", Image: image, Args: []string{"exit", "0"},
		ImagePullPolicy: corev1.PullIfNotPresent, TerminationMessagePolicy: corev1.TerminationMessageReadFile}}}
	if _, err := w.api.Update(t.Context(), client.Pods.GVR, p, metav1.UpdateOptions{}, "ephemeralcontainers"); err != nil {
		t.Fatal(err)
	}
	got := w.await("web", "debugged", func(p *corev1.Pod) bool {
		s := p.Status.EphemeralContainerStatuses
		return len(s) == 1 && s[0].State.Terminated != nil
	})
	if got.Status.EphemeralContainerStatuses[0].State.Terminated.ExitCode != 0 || !isReady(got) {
		t.Errorf("%+v", got.Status)
	}
}

// testForward forwards a port, over SPDY and through a WebSocket tunnel.
func testForward(t *testing.T, base string) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // the pod is in the host's network
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); c.Close() }()
		}
	}()
	port := l.Addr().(*net.TCPAddr).Port
	u, err := url.Parse(base + "/portForward/default/web")
	if err != nil {
		t.Fatal(err)
	}
	cfg := &rest.Config{Host: base, TLSClientConfig: rest.TLSClientConfig{Insecure: true}}
	rt, up, err := spdy.RoundTripperFor(cfg)
	if err != nil {
		t.Fatal(err)
	}
	tunnel, err := portforward.NewSPDYOverWebsocketDialerForStreaming(u, cfg)
	if err != nil {
		t.Fatal(err)
	}
	for name, d := range map[string]httpstream.Dialer{"SPDY": spdy.NewDialerForStreaming(up, &http.Client{Transport: rt}, http.MethodPost, u), "tunnel": tunnel} {
		local, stop, ready := testenv.FreePort(t), make(chan struct{}), make(chan struct{})
		f, err := portforward.NewForStreaming(d, []string{fmt.Sprintf("%d:%d", local, port)}, stop, ready, io.Discard, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- f.ForwardPorts() }()
		select {
		case <-ready:
		case err := <-done:
			t.Fatalf("%s: %v", name, err)
		}
		if got := echo(t, local, strings.Repeat("0123456789", 10000)); got != 100000 {
			t.Errorf("%s: %d bytes came back", name, got)
		}
		close(stop)
		<-done
	}
}

func echo(t *testing.T, port int, text string) int {
	t.Helper()
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	go func() { _, _ = c.Write([]byte(text)) }()
	var b bytes.Buffer
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	n, _ := io.CopyN(&b, c, int64(len(text)))
	return int(n)
}

func (w *world) startWith(cfg node.Config) (stop func()) {
	old := w.cfg
	w.cfg = cfg
	w.start()
	stop = w.stop
	w.cfg, w.stop = old, nil
	return stop
}
