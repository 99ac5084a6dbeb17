package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/vishvananda/netns"

	"hyperkube/internal/node/cgroup"
	"hyperkube/internal/ociarchive"
	"hyperkube/internal/testenv/images"
)

// cgroup2 says which cgroups the machine has.
func cgroup2() bool {
	h, err := cgroup.Detect()
	return err == nil && h.V2
}

func testStaticPods(t *testing.T, n node) {
	path := filepath.Join(n.h.data, "manifests", "s.yaml")
	write := func(args string) {
		t.Helper()
		manifest := fmt.Sprintf(`{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "s", "namespace": %q}, "spec": {"terminationGracePeriodSeconds": 1, "containers": [%s]}}`,
			n.k.ns, container("c", args, ""))
		if err := os.WriteFile(path, []byte(manifest), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("serve v1")
	n.k.run("wait", "--for=create", "pod/s-one", "--timeout=20s")
	n.ready("s-one")
	first := n.get("s-one")
	if first.Annotations["kubernetes.io/config.source"] != "file" || first.Annotations["kubernetes.io/config.mirror"] == "" || first.OwnerReferences[0].Kind != "Node" {
		t.Errorf("mirror %+v", first.ObjectMeta)
	}
	n.k.run("delete", "pod", "s-one", "--grace-period=0", "--force") // only the image of it
	n.k.run("wait", "--for=create", "pod/s-one", "--timeout=20s")
	n.ready("s-one")
	if again := n.get("s-one"); again.UID == first.UID || again.Status.ContainerStatuses[0].ContainerID != first.Status.ContainerStatuses[0].ContainerID {
		t.Errorf("after its mirror was deleted, the pod runs in %+v", again.Status.ContainerStatuses[0])
	}
	write("serve v2")
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		out, _, code := n.k.try("logs", "s-one")
		if code == 0 && strings.Contains(out, "serving v2") {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the changed manifest is not run: %q", out)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	n.k.run("wait", "--for=delete", "pod/s-one", "--timeout=30s")
}

// testKubeletAPI asks the kubelet itself, as monitoring does.
func testKubeletAPI(t *testing.T, n node) {
	n.k.run("create", "serviceaccount", "monitor")
	n.k.run("create", "clusterrole", "e2e-monitor", "--verb=get", "--resource=nodes/metrics,nodes/stats")
	t.Cleanup(func() { _, _, _ = n.k.try("delete", "clusterrole,clusterrolebinding", "e2e-monitor") })
	n.k.run("create", "clusterrolebinding", "e2e-monitor", "--clusterrole=e2e-monitor", "--serviceaccount="+n.k.ns+":monitor")
	n.pod("busy", "", container("c", "wait", ""))
	n.ready("busy")
	token := strings.TrimSpace(n.k.run("create", "token", "monitor"))
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		DialContext: func(_ context.Context, network, address string) (c net.Conn, err error) {
			err = within(n.h.ns, func() (err error) { c, err = net.DialTimeout(network, address, 5*time.Second); return err })
			return c, err
		},
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // the test has no other way to know the kubelet's certificate
	}}
	get := func(url, token string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	base := "https://" + n.h.ip + ":10250"
	for _, c := range []struct {
		path, token string
		code        int
		text        string
	}{
		{"/pods", "", http.StatusUnauthorized, "Unauthorized"},
		{"/pods", "nonsense", http.StatusUnauthorized, "Unauthorized"},
		{"/pods", token, http.StatusForbidden, "Forbidden (user=system:serviceaccount:" + n.k.ns + ":monitor, verb=get, resource=nodes"},
		{"/exec/" + n.k.ns + "/busy/c?command=x&output=1", token, http.StatusForbidden, "Forbidden"},
		{"/metrics", token, http.StatusOK, `kubelet_running_containers{container_state="running"}`},
		{"/metrics", token, http.StatusOK, `kubelet_runtime_operations_total{operation_type="run_podsandbox"}`},
		{"/metrics/cadvisor", token, http.StatusOK, `namespace="` + n.k.ns + `",pod="busy"`},
		{"/metrics/resource", token, http.StatusOK, `pod_memory_working_set_bytes{namespace="` + n.k.ns + `",pod="busy"}`},
		{"/metrics/probes", token, http.StatusOK, ""},
		{"/stats/summary", token, http.StatusOK, `"name":"busy","namespace":"` + n.k.ns + `"`},
	} {
		if code, body := get(base+c.path, c.token); code != c.code || !strings.Contains(body, c.text) {
			t.Errorf("%s: %d %q, want %d with %q", c.path, code, body[:min(len(body), 300)], c.code, c.text)
		}
	}
	if code, body := get("http://127.0.0.1:10248/healthz", ""); code != http.StatusOK || body != "ok" {
		t.Errorf("healthz: %d %q", code, body)
	}
	// By the API server, as its administrator.
	has(t, "configz", n.k.run("get", "--raw", "/api/v1/nodes/one/proxy/configz"), `"containerLogMaxSize":"16Ki"`)
	has(t, "pods", n.k.run("get", "--raw", "/api/v1/nodes/one/proxy/pods"), `"name":"busy"`)
}

// within runs a function on the network of a machine.
func within(ns string, f func() error) error {
	out := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		h, err := netns.GetFromName(ns)
		if err != nil {
			out <- err
			return
		}
		defer h.Close()
		if err := netns.Set(h); err != nil {
			out <- err
			return
		}
		out <- f()
	}()
	return <-out
}

// testImages pulls from a registry of which one part asks for a login.
func testImages(t *testing.T, n node, registries string) {
	store, img := images.NewRegistry(), ownImage(t, n.h.webapp())
	store.Push(t, "open/webapp", img)
	store.Push(t, "team/webapp", img)
	var l net.Listener
	if err := within(n.h.ns, func() (err error) { l, err = net.Listen("tcp", "127.0.0.1:0"); return err }); err != nil {
		t.Fatal(err)
	}
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: store}}
	s.Start()
	t.Cleanup(s.Close)
	host := l.Addr().String()
	mirror := filepath.Join(registries, "mirror.test")
	if err := os.MkdirAll(mirror, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(mirror, "hosts.toml"), fmt.Appendf(nil, "[host.'http://%s']\n", host), 0o600); err != nil {
		t.Fatal(err)
	}
	n.k.run("create", "secret", "docker-registry", "login", "--docker-server="+host, "--docker-username="+images.User, "--docker-password="+images.Password)
	c := func(image, policy string) string {
		return fmt.Sprintf(`{"name": "c", "image": %q, "imagePullPolicy": %q, "command": ["/webapp", "wait"]}`, image, policy)
	}
	n.pod("open", "", c(host+"/open/webapp:1", "Always"))
	n.pod("mirrored", "", c("mirror.test/open/webapp:1", "IfNotPresent"))
	n.pod("login", `"imagePullSecrets": [{"name": "login"}]`, c(host+"/team/webapp:1", "Always"))
	n.pod("nologin", "", c(host+"/team/webapp:1", "Always"))
	n.pod("never", "", c(host+"/open/none:1", "Never"))
	n.pod("invalid", "", c("IN VALID", "IfNotPresent"))
	n.pod("unknown", "", c(host+"/open/none:1", "IfNotPresent"))
	for _, p := range []string{"open", "mirrored", "login"} {
		n.ready(p)
		n.event(p, "Pulled", "Successfully pulled image")
	}
	for pod, reason := range map[string]string{"nologin": "ImagePullBackOff", "never": "ErrImageNeverPull", "invalid": "InvalidImageName", "unknown": "ImagePullBackOff"} {
		n.until(pod, ".status.containerStatuses[0].state.waiting.reason", reason)
	}
	n.event("nologin", "Failed", "Error: ErrImagePull")
	n.event("unknown", "BackOff", "Back-off pulling image")
}

// ownImage is the test image as the registry takes it.
func ownImage(t *testing.T, program string) v1.Image {
	t.Helper()
	data, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	if err := ociarchive.Write(&archive, image("push.test/webapp:1", "v1", data)); err != nil {
		t.Fatal(err)
	}
	img, err := tarball.Image(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(archive.Bytes())), nil }, nil)
	if err != nil {
		t.Fatal(err)
	}
	return img
}
