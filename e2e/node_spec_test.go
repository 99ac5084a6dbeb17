package e2e

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func testVolumes(t *testing.T, n node) {
	n.k.run("create", "configmap", "live", "--from-literal=k=one")
	n.k.feed(`{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "fixed"}, "immutable": true, "data": {"k": "one"}}`, "create", "-f", "-")
	n.pod("v", `"securityContext": {"fsGroup": 2000, "runAsUser": 1000}, "volumes": [
		{"name": "live", "configMap": {"name": "live", "items": [{"key": "k", "path": "deep/k", "mode": 256}]}},
		{"name": "fixed", "configMap": {"name": "fixed"}}, {"name": "later", "secret": {"secretName": "later", "optional": true}},
		{"name": "down", "downwardAPI": {"items": [{"path": "app", "fieldRef": {"fieldPath": "metadata.labels['app']"}}]}},
		{"name": "token", "projected": {"sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 600, "audience": "x"}}]}},
		{"name": "empty", "emptyDir": {}}, {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}]`,
		container("c", "wait", `"env": [{"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}], "volumeMounts": [
		{"name": "live", "mountPath": "/live"}, {"name": "fixed", "mountPath": "/fixed"}, {"name": "later", "mountPath": "/later"},
		{"name": "down", "mountPath": "/down"}, {"name": "token", "mountPath": "/token"}, {"name": "empty", "mountPath": "/empty"},
		{"name": "memory", "mountPath": "/memory"}, {"name": "live", "mountPath": "/one", "subPath": "deep/k"},
		{"name": "empty", "mountPath": "/sub", "subPathExpr": "of-$(NAME)/deep"}]`))
	n.ready("v")
	got := n.exec("v", "stat", "/live/deep/k", "/empty", "/memory", "/sub", "/token/t")
	for _, want := range []string{"/live/deep/k -r--r----- 0 2000", "/empty dgrwxrwxrwx 0 2000", "/memory dgrwxrwxrwx 0 2000", "/sub dgrwxrwxrwx 0 2000", "/token/t -rw-r----- 1000 2000"} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if err := n.k.fails("exec", "v", "--", "/webapp", "fill", "/memory/big", "2"); !strings.Contains(err, "no space left on device") {
		t.Errorf("a volume in memory without an end: %q", err)
	}
	n.k.run("patch", "configmap", "live", "-p", `{"data": {"k": "two"}}`)
	n.k.run("label", "pod", "v", "app=two", "--overwrite")
	n.k.run("create", "secret", "generic", "later", "--from-literal=k=s")
	for path, want := range map[string]string{"/live/deep/k": "two\n", "/down/app": "two\n", "/later/k": "s\n"} {
		n.reads("v", path, want)
	}
	if got := n.exec("v", "cat", "/one", "/fixed/k"); got != "one\none\n" { // a subPath is not updated
		t.Errorf("a subPath and an immutable one: %q", got)
	}
	n.pod("bad", `"volumes": [{"name": "h", "hostPath": {"path": "/nonexistent", "type": "Directory"}}]`, container("c", "wait", `"volumeMounts": [{"name": "h", "mountPath": "/h"}]`))
	n.event("bad", "FailedMount", "hostPath type check failed: /nonexistent is not a directory")
}

// reads waits until a file in a container has a content.
func (n node) reads(pod, path, want string) {
	n.k.h.t.Helper()
	got := ""
	for range 100 {
		var code int
		if got, _, code = n.k.try("exec", pod, "--", "/webapp", "cat", path); code == 0 && got == want {
			return
		}
	}
	n.k.h.t.Errorf("%s is %q, want %q", path, got, want)
}

func testEnvironment(t *testing.T, n node) {
	n.k.run("create", "configmap", "c", "--from-literal=a=1", "--from-literal=x.y=2")
	n.k.run("create", "secret", "generic", "s", "--from-literal=password=p")
	n.pod("e", "", container("c", "wait", `"resources": {"requests": {"memory": "32Mi"}, "limits": {"cpu": "1500m"}},
		"envFrom": [{"prefix": "C_", "configMapRef": {"name": "c"}}, {"secretRef": {"name": "none", "optional": true}}],
		"env": [{"name": "P", "valueFrom": {"secretKeyRef": {"name": "s", "key": "password"}}},
			{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}, {"name": "HOSTS", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIPs"}}},
			{"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
			{"name": "MEMORY", "valueFrom": {"resourceFieldRef": {"resource": "requests.memory", "divisor": "1Mi"}}},
			{"name": "ALL", "value": "$(P)-$$(P)-$(NONE)"}]`))
	n.ready("e")
	got := "\n" + n.exec("e", "env")
	for _, want := range []string{"C_a=1", "C_x.y=2", "P=p", "IP=" + n.get("e").Status.PodIP, "HOSTS=" + n.h.ip, "CPU=2", "MEMORY=32", "ALL=p-$(P)-$(NONE)", "KUBERNETES_SERVICE_PORT=443", "HOSTNAME=e"} {
		if !strings.Contains(got, "\n"+want+"\n") {
			t.Errorf("no %s in%s", want, got)
		}
	}
	n.pod("missing", "", container("c", "wait", `"env": [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "none"}}}]`))
	n.until("missing", ".status.containerStatuses[0].state.waiting.reason", "CreateContainerConfigError")
	has(t, "message", n.get("missing").Status.ContainerStatuses[0].State.Waiting.Message, "couldn't find key none in ConfigMap "+n.k.ns+"/c")
	has(t, "log", n.k.fails("logs", "missing"), `container "c" in pod "missing" is waiting to start: CreateContainerConfigError`)
	n.k.run("patch", "configmap", "c", "-p", `{"data": {"none": "here now"}}`)
	n.ready("missing")
}

func testSecurity(t *testing.T, n node) {
	n.pod("strict", `"securityContext": {"runAsUser": 1000, "runAsGroup": 3000, "supplementalGroups": [4000], "seccompProfile": {"type": "RuntimeDefault"},
		"sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "100"}]}`,
		container("c", "wait", `"securityContext": {"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}}`))
	n.pod("mapped", `"hostUsers": false, "volumes": [{"name": "e", "emptyDir": {}}]`, container("c", "wait", `"volumeMounts": [{"name": "e", "mountPath": "/e"}]`))
	n.pod("root", "", container("c", "wait", `"securityContext": {"runAsNonRoot": true}`))
	n.pod("host", `"hostNetwork": true, "hostPID": true`, container("c", "wait", `"securityContext": {"privileged": true}`))
	for _, p := range []string{"strict", "mapped", "host"} {
		n.ready(p)
	}
	has(t, "strict", n.exec("strict", "cat", "/proc/self/status", "/proc/sys/net/ipv4/ip_unprivileged_port_start"),
		"Uid:\t1000\t1000\t1000\t1000", "Gid:\t3000\t3000\t3000\t3000", "Groups:\t3000 4000", "CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2", "\n100\n")
	has(t, "a read-only file system", n.k.fails("exec", "strict", "--", "/webapp", "fill", "/x", "1"), "read-only file system")
	if f := strings.Fields(n.exec("mapped", "cat", "/proc/self/uid_map")); len(f) != 3 || f[0] != "0" || f[1] == "0" || f[2] != "65536" {
		t.Errorf("uid_map of a pod with users of its own: %q", f)
	}
	has(t, "its volume", n.exec("mapped", "stat", "/e"), "drwxrwxrwx 0 0")
	n.until("root", ".status.containerStatuses[0].state.waiting.reason", "CreateContainerConfigError")
	n.event("root", "Failed", "container has runAsNonRoot and image will run as root")
	if s := n.get("host").Status; s.PodIP != n.h.ip {
		t.Errorf("address of a pod on the host's network: %s", s.PodIP)
	}
	has(t, "capabilities of a privileged container", n.exec("host", "cat", "/proc/self/status"), "Seccomp:\t0", "CapEff:\t00000")
}

func testNames(t *testing.T, n node) {
	n.pod("n", `"hostname": "hh", "subdomain": "sub", "setHostnameAsFQDN": true, "hostAliases": [{"ip": "1.2.3.4", "hostnames": ["foo", "bar"]}],
		"dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.1.1.1"], "searches": ["a.b"], "options": [{"name": "ndots", "value": "2"}]}`, container("c", "wait", ""))
	n.pod("d", "", container("c", "wait", ""))
	n.ready("n")
	n.ready("d")
	ip := n.get("n").Status.PodIP
	has(t, "files", n.exec("n", "cat", "/etc/hosts", "/etc/resolv.conf", "/proc/sys/kernel/hostname"), "# Kubernetes-managed hosts file.\n",
		ip+"\thh.sub."+n.k.ns+".svc.cluster.local\thh\n", "1.2.3.4\tfoo\tbar\n", "search a.b\nnameserver 1.1.1.1\noptions ndots:2\n", "\nhh.sub."+n.k.ns+".svc.cluster.local\n")
	has(t, "resolv.conf", n.exec("d", "cat", "/etc/resolv.conf"), "search "+n.k.ns+".svc.cluster.local svc.cluster.local cluster.local", "nameserver 10.96.0.10\n", "options ndots:5")
}

func testResize(t *testing.T, n node) {
	files := []string{"cat", "/sys/fs/cgroup/cpu/cpu.shares", "/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}
	want := func(milli, mib int) string { return fmt.Sprintf("%d\n%d\n%d\n", milli*1024/1000, milli*200, mib<<20) }
	if cgroup2() {
		files = []string{"cat", "/sys/fs/cgroup/cpu.max", "/sys/fs/cgroup/memory.max"}
		want = func(milli, mib int) string { return fmt.Sprintf("%d 100000\n%d\n", milli*200, mib<<20) }
	}
	n.pod("r", "", container("c", "wait", `"resources": {"requests": {"cpu": "50m", "memory": "20Mi"}, "limits": {"cpu": "100m", "memory": "40Mi"}},
		"resizePolicy": [{"resourceName": "memory", "restartPolicy": "RestartContainer"}]`))
	n.ready("r")
	resize := func(cpu, limit, memory string) {
		t.Helper()
		n.k.run("patch", "pod", "r", "--subresource=resize", "-p", fmt.Sprintf(
			`{"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": %q, "memory": "20Mi"}, "limits": {"cpu": %q, "memory": %q}}}]}}`, cpu, limit, memory))
	}
	check := func(milli, mib int, restarts int32) {
		t.Helper()
		n.until("r", ".status.containerStatuses[0].resources.limits.cpu", fmt.Sprintf("%dm", 2*milli))
		n.until("r", ".status.containerStatuses[0].resources.limits.memory", fmt.Sprintf("%dMi", mib))
		n.ready("r")
		if got := n.exec("r", files...); got != want(milli, mib) {
			t.Errorf("cgroup %q, want %q", got, want(milli, mib))
		}
		p := n.get("r")
		if c := p.Status.ContainerStatuses[0]; c.RestartCount != restarts || c.AllocatedResources.Cpu().MilliValue() != int64(milli) || p.Status.ObservedGeneration != p.Generation {
			t.Errorf("restarts %d, allocated %v, observed generation %d of %d", c.RestartCount, c.AllocatedResources, p.Status.ObservedGeneration, p.Generation)
		}
	}
	check(50, 40, 0)
	resize("100m", "200m", "40Mi")
	check(100, 40, 0)
	resize("50m", "100m", "40Mi")
	check(50, 40, 0)
	resize("50m", "100m", "60Mi") // only this needs the container to start anew
	check(50, 60, 1)
	resize("1000", "2000", "60Mi")
	n.k.run("wait", "--for=condition=PodResizePending", "pod/r", "--timeout=20s")
	for _, c := range n.get("r").Status.Conditions {
		if c.Type == corev1.PodResizePending && (c.Reason != "Infeasible" || !strings.Contains(c.Message, "Node didn't have enough capacity: cpu, requested: 1000000")) {
			t.Errorf("condition %+v", c)
		}
	}
	resize("60m", "120m", "60Mi")
	check(60, 60, 1)
	for _, c := range n.get("r").Status.Conditions {
		if c.Type == corev1.PodResizePending || c.Type == corev1.PodResizeInProgress {
			t.Errorf("condition %+v after the end", c)
		}
	}
}

func testStorageLimits(t *testing.T, n node) {
	n.pod("full", `"volumes": [{"name": "e", "emptyDir": {"sizeLimit": "1Mi"}}]`, container("c", "fill /e/f 3", `"volumeMounts": [{"name": "e", "mountPath": "/e"}]`))
	n.until("full", ".status.reason", "Evicted")
	p := n.get("full")
	if p.Status.Message != `Usage of EmptyDir volume "e" exceeds the limit "1Mi". ` || p.Status.Phase != corev1.PodFailed && p.Status.Phase != corev1.PodRunning {
		t.Errorf("status %+v", p.Status)
	}
	n.until("full", ".status.phase", "Failed")
	n.k.run("wait", "--for=condition=DisruptionTarget", "pod/full", "--timeout=10s")
	n.event("full", "Evicted", "exceeds the limit")
}
