package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestJoin is the life of a cluster of three machines: two join by token, pods on all three reach each other, one machine is cut off,
// its pods move, it comes back, the master goes away and comes back, and a machine leaves.
func TestJoin(t *testing.T) {
	l := newLab(t)
	one, two, three := l.host(1), l.host(2), l.host(3)
	before := two.kernel()
	master := []string{"up", "--detach", "--data-dir", one.data, "--node-name", "one",
		"--kube-controller-manager-arg", "node-monitor-grace-period=6s", "--kubelet-arg", "config=" + one.kubeletConfig()}
	one.run(master...)
	one.shortLeases()
	two.refused(one)
	two.join(one.token(), "two", "HYPERKUBE_TOKEN")
	three.joinWithFile(one.token(), "three")
	for _, h := range []*host{one, two, three} {
		h.importImage()
	}
	one.apply(webSet)
	one.apply(mover)
	one.kubectl("rollout", "status", "daemonset/web", "--timeout=50s")
	one.kubectl("rollout", "status", "deployment/mover", "--timeout=50s")
	all := one.pods("app=web")
	if len(all) != 3 {
		t.Fatalf("pods %+v, want one on each of three nodes", all)
	}
	mesh(t, one, all, []*host{one, two, three})

	t.Run("a node is cut off", func(t *testing.T) { cutOff(t, l, one, three, all) })
	t.Run("the master is away", func(t *testing.T) { masterAway(t, one, two, master) })

	if out := two.run("status", "--data-dir", two.data); !strings.Contains(out, "node two") || !strings.Contains(out, "Ready") {
		t.Errorf("status of a joined node: %q", out)
	}
	two.run("reset", "--data-dir", two.data)
	if _, err := os.Stat(two.data); !os.IsNotExist(err) {
		t.Errorf("the data directory is still there: %v", err)
	}
	if after := two.kernel(); after != before {
		t.Errorf("reset left\n%s\nbefore there was\n%s", after, before)
	}
}

// TestJoinHostGW has pods of two machines reach each other by plain routes.
func TestJoinHostGW(t *testing.T) {
	l := newLab(t)
	one, two := l.host(1), l.host(2)
	before := two.kernel()
	one.run("up", "--detach", "--data-dir", one.data, "--node-name", "one", "--overlay-backend", "host-gw")
	two.join(one.token(), "two", "HYPERKUBE_TOKEN")
	one.importImage()
	two.importImage()
	one.apply(webSet)
	one.kubectl("rollout", "status", "daemonset/web", "--timeout=50s")
	mesh(t, one, one.pods("app=web"), []*host{one, two})
	if kernel := two.kernel(); !strings.Contains(kernel, "via "+one.ip) || strings.Contains(kernel, "flannel.1") {
		t.Errorf("no plain routes:\n%s", kernel)
	}
	two.run("reset", "--data-dir", two.data)
	if after := two.kernel(); after != before {
		t.Errorf("reset left\n%s\nbefore there was\n%s", after, before)
	}
}

// leases has kubelets show themselves every two seconds.
const leases = "nodeLeaseDurationSeconds: 8\n"

// kubeletConfig is a file with settings of a master's kubelet.
func (h *host) kubeletConfig() string {
	h.t.Helper()
	file := filepath.Join(h.t.TempDir(), "kubelet.yaml")
	if err := os.WriteFile(file, []byte("apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"+leases), 0o600); err != nil {
		h.t.Fatal(err)
	}
	return file
}

// shortLeases gives the same to the kubelets that join from now on.
func (h *host) shortLeases() {
	h.t.Helper()
	text := h.kubectl("get", "configmap", "kubelet-config", "-n", "kube-system", "-o", "jsonpath={.data.kubelet}")
	patch, err := json.Marshal(map[string]any{"data": map[string]string{"kubelet": text + leases}})
	if err != nil {
		h.t.Fatal(err)
	}
	h.kubectl("patch", "configmap", "kubelet-config", "-n", "kube-system", "--type=merge", "-p", string(patch))
}

var joinLine = regexp.MustCompile(`join \S+ --token (\S+) --ca-cert-hash (\S+)`)

// ticket is what a machine needs to join.
type ticket struct{ url, token, hash string }

func (h *host) token(flags ...string) ticket {
	h.t.Helper()
	out := h.run(append([]string{"token", "create", "--data-dir", h.data}, flags...)...)
	m := joinLine.FindStringSubmatch(out)
	if m == nil {
		h.t.Fatalf("token create printed %q", out)
	}
	return ticket{"https://" + h.ip + ":6443", m[1], m[2]}
}

// refused tries what must not work, each with an error that says what is wrong, and leaves nothing behind.
func (h *host) refused(master *host) {
	h.t.Helper()
	good, old := master.token(), master.token("--ttl", "1s")
	wrong := good
	wrong.token = good.token[:7] + strings.Repeat("0", 16)
	elsewhere := good
	elsewhere.hash = "sha256:" + strings.Repeat("0", 64)
	master.kubectl("wait", "--for=delete", "secret", "-n", "kube-system", "bootstrap-token-"+old.token[:6], "--timeout=20s")
	for name, c := range map[string]struct {
		t    ticket
		node string
		want string
	}{
		"wrong token":     {wrong, "two", "the token is wrong"},
		"expired token":   {old, "two", "or it has expired"},
		"wrong CA":        {elsewhere, "two", "none of those pinned by --ca-cert-hash"},
		"malformed token": {ticket{good.url, "abc", good.hash}, "two", "has the form"},
		"no token":        {ticket{good.url, "", good.hash}, "two", "a token is needed"},
		"no cluster":      {ticket{"https://" + master.ip + ":6444", good.token, good.hash}, "two", "connection refused"},
		"taken name":      {good, "one", `has a node "one" already`},
	} {
		out, err := h.try("join", c.t.url, "--token", c.t.token, "--ca-cert-hash", c.t.hash, "--data-dir", h.data, "--node-name", c.node, "--detach")
		if err == nil || !strings.Contains(out, c.want) {
			h.t.Errorf("%s: %v: %q, want an error with %q", name, err, out, c.want)
		}
		if _, err := os.Stat(h.data); !os.IsNotExist(err) {
			h.t.Errorf("%s left a data directory: %v", name, err)
		}
	}
}

// join with the token in a variable of the environment.
func (h *host) join(k ticket, name, variable string) {
	h.t.Helper()
	cmd := h.in(h.bin, "join", k.url, "--ca-cert-hash", k.hash, "--data-dir", h.data, "--node-name", name, "--detach")
	cmd.Env = append(cmd.Env, variable+"="+k.token)
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "Node "+name+" is Ready") {
		h.t.Fatalf("join: %v: %s", err, out)
	}
}

func (h *host) joinWithFile(k ticket, name string) {
	h.t.Helper()
	file := filepath.Join(h.t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(k.token+"\n"), 0o600); err != nil {
		h.t.Fatal(err)
	}
	h.run("join", "--token-file", file, "--node-name", name, k.url, "--ca-cert-hash="+k.hash, "--data-dir", h.data, "--detach")
}

func (h *host) apply(manifest string) {
	h.t.Helper()
	file := filepath.Join(h.t.TempDir(), "manifest.yaml")
	if err := os.WriteFile(file, []byte(manifest), 0o600); err != nil {
		h.t.Fatal(err)
	}
	h.kubectl("apply", "-f", file)
}

// pod is one that is not being deleted.
type pod struct{ name, node, ip string }

func (h *host) pods(selector string) []pod {
	h.t.Helper()
	out := h.kubectl("get", "pods", "-l", selector, "-o", `jsonpath={range .items[*]}{.metadata.name} {.spec.nodeName} {.status.podIP} {.metadata.deletionTimestamp}{"\n"}{end}`)
	var all []pod
	for _, line := range strings.Split(strings.TrimSpace(out), "\n") {
		if f := strings.Fields(line); len(f) == 3 {
			all = append(all, pod{f[0], f[1], f[2]})
		}
	}
	return all
}

// mesh has every pod and every machine reach every pod, by address and by the service, by its address and its names.
func mesh(t *testing.T, master *host, pods []pod, hosts []*host) {
	t.Helper()
	cluster := master.kubectl("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")
	var targets []string
	for _, p := range pods {
		targets = append(targets, p.ip+":8080")
	}
	targets = append(targets, cluster+":8080")
	for _, h := range hosts {
		targets = append(targets, h.ip+":30080")
	}
	for _, h := range hosts {
		if out, err := h.in(h.webapp(), append([]string{"reach"}, targets...)...).CombinedOutput(); err != nil {
			t.Errorf("from machine %s: %v: %s", h.ip, err, out)
		}
	}
	names := append(targets, "web:8080", "web.default:8080", "web.default.svc.cluster.local:8080", "headless.default.svc:8080")
	for _, p := range pods {
		master.kubectl(append([]string{"exec", p.name, "--", "/webapp", "reach"}, names...)...)
		if got := master.kubectl("exec", p.name, "--", "/webapp", "get", "http://kubernetes.default.svc:443/"); !strings.Contains(got, "HTTPS server") {
			t.Errorf("the API server as %s on %s sees it: %q", p.name, p.node, got)
		}
		if got := master.kubectl("logs", p.name); !strings.Contains(got, "serving v1") {
			t.Errorf("logs of %s on %s: %q", p.name, p.node, got)
		}
	}
}

// cutOff cuts a machine off until its pods have moved, and back on.
func cutOff(t *testing.T, l *lab, master, lost *host, web []pod) {
	old := master.pods("app=mover")[0]
	if old.node != "three" {
		t.Fatalf("%+v, want it on node three", old)
	}
	var far pod
	for _, p := range web {
		if p.node == "three" {
			far = p
		}
	}
	l.unplug(3)
	began := time.Now()
	master.kubectl("wait", "--for=condition=Ready=Unknown", "node/three", "--timeout=30s")
	t.Logf("found lost after %v", time.Since(began).Round(100*time.Millisecond))
	master.kubectl("wait", "--for=jsonpath={.metadata.deletionTimestamp}", "pod/"+old.name, "--timeout=30s")
	master.kubectl("wait", "--for=condition=Available", "deployment/mover", "--timeout=30s")
	t.Logf("moved after %v", time.Since(began).Round(100*time.Millisecond))
	if now := master.pods("app=mover"); len(now) != 1 || now[0].node == "three" {
		t.Errorf("the pod that had to move is %+v", now)
	}
	master.kubectl("wait", "--for=jsonpath={.endpoints[0].conditions.ready}=false", "endpointslice/kube-dns-three", "-n", "kube-system", "--timeout=10s")
	slices := master.kubectl("get", "endpointslices", "-l", "kubernetes.io/service-name=web", "-o", `jsonpath={range .items[*].endpoints[?(@.conditions.ready==true)]}{.nodeName} {end}`)
	if strings.Contains(slices, "three") || !strings.Contains(slices, "two") {
		t.Errorf("the service's ready endpoints are on %q", slices)
	}
	cluster := master.kubectl("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")
	for range 5 { // without the lost one among them, as one in three would be
		if out, err := master.in(master.webapp(), "reach", cluster+":8080").CombinedOutput(); err != nil {
			t.Errorf("while a node is lost: %v: %s", err, out)
		}
	}
	// The lost machine goes on by itself: its pods run, and its name server answers.
	if out, err := lost.in(lost.webapp(), "reach", far.ip+":8080").CombinedOutput(); err != nil {
		t.Errorf("on the lost machine: %v: %s", err, out)
	}
	if out, err := lost.in(lost.webapp(), "lookup", "web.default.svc.cluster.local.", "10.96.0.10").CombinedOutput(); err != nil || !strings.Contains(string(out), cluster) {
		t.Errorf("DNS on the lost machine: %v: %s", err, out)
	}

	l.plug(3)
	back := time.Now()
	master.kubectl("wait", "--for=condition=Ready", "node/three", "--timeout=30s")
	t.Logf("back after %v", time.Since(back).Round(100*time.Millisecond))
	master.kubectl("wait", "--for=delete", "pod/"+old.name, "--timeout=40s")
	master.kubectl("wait", "--for=condition=Ready", "pod/"+far.name, "--timeout=20s")
	t.Logf("as before after %v", time.Since(back).Round(100*time.Millisecond))
	if got := master.kubectl("get", "node", "three", "-o", "jsonpath={.spec.taints}"); got != "" {
		t.Errorf("taints %s", got)
	}
	master.kubectl("exec", far.name, "--", "/webapp", "reach", "web:8080", web[0].ip+":8080", web[1].ip+":8080", web[2].ip+":8080")
}

// masterAway stops the control plane and starts it again, and the joined node too.
func masterAway(t *testing.T, one, two *host, up []string) {
	cluster := one.kubectl("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")
	one.run("down", "--data-dir", one.data)
	if out, err := two.in(two.webapp(), "reach", cluster+":8080").CombinedOutput(); err != nil {
		t.Errorf("while the master is away: %v: %s", err, out)
	}
	if out, err := two.in(two.webapp(), "lookup", "web.default.svc.cluster.local.", "10.96.0.10").CombinedOutput(); err != nil || !strings.Contains(string(out), cluster) {
		t.Errorf("DNS while the master is away: %v: %s", err, out)
	}
	two.run("down", "--data-dir", two.data)
	if out := two.run("up", "--detach", "--data-dir", two.data); !strings.Contains(out, "will be Ready when its cluster answers") {
		t.Errorf("up without a master printed %q", out)
	}
	one.run(up...)
	began := time.Now()
	one.apply(fmt.Sprintf(pinned, "back", "two"))
	one.kubectl("wait", "--for=condition=Ready", "pod/back", "--timeout=30s")
	t.Logf("a pod elsewhere is ready %v after the master is back", time.Since(began).Round(100*time.Millisecond))

	// A node starts again without a token, by either command, and takes its pods over.
	state := func() string {
		return one.kubectl("get", "pod", "back", "-o", "jsonpath={.status.containerStatuses[0].containerID} {.status.containerStatuses[0].restartCount}")
	}
	was := state()
	for _, command := range []string{"up", "join"} {
		two.run("down", "--data-dir", two.data)
		if out := two.run(command, "--detach", "--data-dir", two.data); !strings.Contains(out, "Node two is Ready") {
			t.Errorf("%s printed %q", command, out)
		}
	}
	if now := state(); now != was {
		t.Errorf("the node's start made %q of %q", now, was)
	}
	one.kubectl("exec", "back", "--", "/webapp", "reach", "web:8080")
}

const webSet = `
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: web, image: "` + webImage + `", args: [serve, v1]}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  selector: {app: web}
  ports: [{name: tcp, port: 8080, nodePort: 30080}, {name: udp, port: 8080, nodePort: 30080, protocol: UDP}]
---
apiVersion: v1
kind: Service
metadata: {name: headless}
spec:
  clusterIP: None
  selector: {app: web}
  ports: [{name: tcp, port: 8080}, {name: udp, port: 8080, protocol: UDP}]
`

// mover is a pod that likes node three and leaves it soon when it is lost.
const mover = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: mover}
spec:
  selector: {matchLabels: {app: mover}}
  template:
    metadata: {labels: {app: mover}}
    spec:
      terminationGracePeriodSeconds: 1
      affinity:
        nodeAffinity:
          preferredDuringSchedulingIgnoredDuringExecution:
          - {weight: 100, preference: {matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [three]}]}}
      tolerations:
      - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 1}
      - {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 1}
      containers: [{name: web, image: "` + webImage + `", args: [serve, mover]}]
`

const pinned = `
apiVersion: v1
kind: Pod
metadata: {name: %s, labels: {app: pinned}}
spec:
  terminationGracePeriodSeconds: 1
  nodeSelector: {kubernetes.io/hostname: %s}
  containers: [{name: web, image: "` + webImage + `", args: [serve, pinned]}]
`
