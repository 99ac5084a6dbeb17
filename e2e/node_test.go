package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// TestNode is what a node promises to pods, with real containers on one cluster.
func TestNode(t *testing.T) {
	h := newHost(t)
	registries := t.TempDir()
	h.run("up", "--detach", "--data-dir", h.data, "--node-name", "one", "--registry-dir", registries,
		"--kubelet-arg", "container-log-max-size=16Ki", "--kubelet-arg", "container-log-max-files=3", "--kubelet-arg", "system-reserved=memory=100Mi")
	h.importImage()
	h.kubectl("wait", "--for=condition=Ready", "node/one", "--timeout=20s")
	for name, test := range map[string]func(*testing.T, node){
		"ends": testEnds, "crashes": testCrashes, "init": testInit, "volumes": testVolumes, "environment": testEnvironment,
		"security": testSecurity, "names": testNames, "resize": testResize, "storage limits": testStorageLimits,
		"static pods": testStaticPods, "kubelet API": testKubeletAPI, "log rotation": testRotation, "node object": testNodeObject,
		"images": func(t *testing.T, n node) { testImages(t, n, registries) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hh := h.on(t)
			test(t, node{hh, hh.embedded().in("node-" + strings.ReplaceAll(strings.ToLower(name), " ", "-"))})
		})
	}
}

// node is the machine under test and a namespace on it.
type node struct {
	h *host
	k kubectl
}

// container is one that runs the test program, with more of its spec in more.
func container(name, args, more string) string {
	var list []string
	if args != "" {
		list = strings.Fields(args)
	}
	cmd, err := json.Marshal(append([]string{"/webapp"}, list...))
	if err != nil {
		panic(err)
	}
	if more != "" {
		more = ", " + more
	}
	return fmt.Sprintf(`{"name": %q, "image": %q, "command": %s%s}`, name, webImage, cmd, more)
}

// pod makes one of containers, with more of its spec in more.
func (n node) pod(name, more string, containers ...string) {
	n.k.h.t.Helper()
	if more != "" {
		more = ", " + more
	}
	n.k.feed(fmt.Sprintf(`{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": %q, "labels": {"app": %q}}, "spec": {"terminationGracePeriodSeconds": 1, "containers": [%s]%s}}`,
		name, name, strings.Join(containers, ", "), more), "create", "-f", "-")
}

func (n node) ready(name string) {
	n.k.h.t.Helper()
	n.k.run("wait", "--for=condition=Ready", "pod/"+name, "--timeout=40s")
}

// until waits for a value of a pod.
func (n node) until(name, path, value string) {
	n.k.h.t.Helper()
	if out, errOut, code := n.k.try("wait", "--for=jsonpath={"+path+"}="+value, "pod/"+name, "--timeout=40s"); code != 0 {
		n.k.h.t.Fatalf("%s of pod %s is not %s: %s%s\n%s", path, name, value, out, errOut, n.k.run("get", "pod", name, "-o", "yaml"))
	}
}

func (n node) get(name string) *corev1.Pod {
	n.k.h.t.Helper()
	p := &corev1.Pod{}
	if err := json.Unmarshal([]byte(n.k.run("get", "pod", name, "-o", "json")), p); err != nil {
		n.k.h.t.Fatal(err)
	}
	return p
}

func (n node) exec(pod string, args ...string) string {
	n.k.h.t.Helper()
	return n.k.run(append([]string{"exec", pod, "--", "/webapp"}, args...)...)
}

// events of a pod, waited for: they are written a moment after what they tell of.
func (n node) event(pod, reason, text string) {
	n.k.h.t.Helper()
	var all string
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		all = n.k.run("get", "events", "--field-selector", "involvedObject.name="+pod+",reason="+reason, "-o", "jsonpath={range .items[*]}{.message}{\"\\n\"}{end}")
		if strings.Contains(all, text) && all != "" {
			return
		}
	}
	n.k.h.t.Errorf("no event %s of pod %s with %q: %q", reason, pod, text, all)
}

func testEnds(t *testing.T, n node) {
	n.pod("unsafe", `"securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "65536"}]}`, container("c", "wait", ""))
	n.pod("late", `"activeDeadlineSeconds": 1`, container("c", "wait", ""))
	n.pod("once", `"restartPolicy": "Never"`, container("c", "fail 4 why", ""), container("d", "echo x", ""))
	n.pod("hungry", `"restartPolicy": "Never"`, container("c", "eat 200", `"resources": {"limits": {"memory": "48Mi"}}`))
	n.pod("again", `"restartPolicy": "OnFailure"`, container("c", "echo done", ""))
	for pod, reason := range map[string]string{"unsafe": "SysctlForbidden", "late": "DeadlineExceeded"} {
		n.until(pod, ".status.phase", "Failed")
		if p := n.get(pod); p.Status.Reason != reason {
			t.Errorf("%s: reason %q, want %q", pod, p.Status.Reason, reason)
		}
	}
	n.until("once", ".status.phase", "Failed")
	if s := n.get("once").Status.ContainerStatuses; s[0].State.Terminated.ExitCode != 4 || s[0].State.Terminated.Message != "why" || s[1].State.Terminated.Reason != "Completed" {
		t.Errorf("once: %+v", s)
	}
	n.until("hungry", ".status.containerStatuses[0].state.terminated.reason", "OOMKilled")
	n.until("again", ".status.phase", "Succeeded")
	if c := n.get("again").Status.ContainerStatuses[0]; c.RestartCount != 0 || c.Ready {
		t.Errorf("again: %+v", c)
	}
}

func testCrashes(t *testing.T, n node) {
	n.pod("crash", "", container("c", "fail 3 why", ""))
	n.pod("nothing", "", fmt.Sprintf(`{"name": "c", "image": %q, "command": ["/none"]}`, webImage))
	n.pod("sick", "", container("c", "wait", `"livenessProbe": {"exec": {"command": ["/webapp", "nonsense"]}, "periodSeconds": 1, "failureThreshold": 1}`))
	n.until("crash", ".status.containerStatuses[0].restartCount", "1")
	n.until("crash", ".status.containerStatuses[0].state.waiting.reason", "CrashLoopBackOff")
	c := n.get("crash").Status.ContainerStatuses[0]
	if last := c.LastTerminationState.Terminated; last == nil || last.ExitCode != 3 || last.Message != "why" || last.Reason != "Error" {
		t.Errorf("last state %+v", c.LastTerminationState)
	}
	has(t, "waiting", c.State.Waiting.Message, "back-off 10s restarting failed container=c pod=crash_"+n.k.ns)
	has(t, "previous log", n.k.run("logs", "crash", "--previous"), "why")
	n.event("crash", "BackOff", "Back-off restarting failed container c in pod crash_"+n.k.ns)
	n.until("nothing", ".status.containerStatuses[0].lastState.terminated.reason", "StartError")
	n.until("sick", ".status.containerStatuses[0].restartCount", "1")
	n.event("sick", "Unhealthy", "Liveness probe failed: ")
	n.event("sick", "Killing", "Container c failed liveness probe, will be restarted")
}

func testInit(t *testing.T, n node) {
	n.pod("order", `"initContainers": [`+container("first", "echo 1", "")+`, `+
		container("side", "serve side", `"restartPolicy": "Always", "startupProbe": {"httpGet": {"port": 8080}, "periodSeconds": 1}`)+`, `+
		container("last", "await http://127.0.0.1:8080/", "")+`]`,
		container("main", "wait", `"readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1}, "lifecycle": {"preStop": {"httpGet": {"port": 8080}}}`))
	n.ready("order")
	has(t, "the second init container", n.k.run("logs", "order", "-c", "last"), "side order")
	n.pod("stuck", `"initContainers": [`+container("bad", "fail 1 x", "")+`]`, container("main", "wait", ""))
	n.until("stuck", ".status.initContainerStatuses[0].restartCount", "1")
	p := n.get("stuck")
	if w := p.Status.ContainerStatuses[0].State.Waiting; w == nil || w.Reason != "PodInitializing" || p.Status.Phase != corev1.PodPending {
		t.Errorf("stuck: %+v", p.Status)
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodInitialized && (c.Reason != "ContainersNotInitialized" || c.Message != "containers with incomplete status: [bad]") {
			t.Errorf("condition %+v", c)
		}
	}
	n.pod("given-up", `"restartPolicy": "Never", "initContainers": [`+container("bad", "fail 1 x", "")+`]`, container("main", "wait", ""))
	n.until("given-up", ".status.phase", "Failed")
}

func testNodeObject(t *testing.T, n node) {
	// What others tell of a node stays, and what the kubelet knows is set right.
	n.k.run("patch", "node", "one", "--subresource=status", "--type=merge", "-p", `{"status": {"capacity": {"example.com/thing": "3"}, "allocatable": {"example.com/thing": "3"}}}`)
	n.pod("user", "", container("c", "wait", `"resources": {"limits": {"example.com/thing": 2}}`))
	n.ready("user")
	n.pod("greedy", "", container("c", "wait", `"resources": {"limits": {"example.com/thing": 2}}`))
	n.event("greedy", "FailedScheduling", "0/1 nodes are available: 1 Insufficient example.com/thing")
	n.k.run("annotate", "node", "one", "example.com/kick=1")
	node := &corev1.Node{}
	if err := json.Unmarshal([]byte(n.k.run("get", "node", "one", "-o", "json")), node); err != nil {
		t.Fatal(err)
	}
	capacity, allocatable := node.Status.Capacity.Memory().Value(), node.Status.Allocatable.Memory().Value()
	if capacity-allocatable != 200<<20 { // what is reserved and the threshold of eviction
		t.Errorf("memory: capacity %d, allocatable %d", capacity, allocatable)
	}
	if q := node.Status.Allocatable["example.com/thing"]; q.Value() != 3 {
		t.Errorf("a foreign resource became %s", q.String())
	}
}

func testRotation(t *testing.T, n node) {
	n.pod("chatty", "", container("c", "count 100000000 1ms", ""))
	n.ready("chatty")
	p := n.get("chatty")
	dir := filepath.Join(n.h.data, "logs", "pods", n.k.ns+"_chatty_"+string(p.UID), "c")
	var names []string
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		names = nil
		all, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range all {
			names = append(names, e.Name())
		}
		if len(names) > 2 {
			break
		}
	}
	if len(names) != 3 || names[0] != "0.log" || !strings.HasSuffix(names[1], ".gz") {
		t.Fatalf("after a minute there are %q", names)
	}
	if lines := strings.Fields(n.k.run("logs", "chatty", "--tail=2")); len(lines) != 2 || lines[1] <= lines[0] && len(lines[1]) == len(lines[0]) {
		t.Errorf("the last lines are %q", lines)
	}
	links, err := filepath.Glob(filepath.Join(n.h.data, "logs", "containers", "chatty_"+n.k.ns+"_c-*.log"))
	if err != nil || len(links) != 1 {
		t.Errorf("links for log collectors: %q, %v", links, err)
	}
}
