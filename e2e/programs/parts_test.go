package programs

import (
	"path/filepath"
	"strings"
	"testing"
)

// testParts puts upstream's scheduler and controller manager in the place of this project's, on the cluster that those have run
// so far.
func testParts(t *testing.T, c cluster) {
	k := kubectl{t: t, c: c, program: c.upstream(t, "kubectl"), ns: c.namespace(t, "parts")}
	k.feed(web, "apply", "-f", "-")
	k.run("rollout", "status", "deployment/web", "--timeout=60s")
	c.down(t)
	c.up(t, "--disable=scheduler,controller-manager")
	t.Cleanup(func() { c.down(t); c.up(t) }) // for the namespace to go, after upstream's have ended
	has(t, "component statuses", k.run("get", "cs"), "scheduler Unhealthy", "controller-manager Unhealthy", "etcd-0 Healthy")
	k.run("set", "env", "deployment/web", "BY=upstream")
	startParts(t, c)
	k.run("rollout", "status", "deployment/web", "--timeout=60s")
	has(t, "component statuses", k.run("get", "cs"), "scheduler Healthy", "controller-manager Healthy")
	k.run("scale", "deployment/web", "--replicas=3")
	k.run("rollout", "status", "deployment/web", "--timeout=60s")
	k.feed(workloads, "apply", "-f", "-")
	k.run("wait", "--for=condition=Complete", "job/once", "--timeout=60s")
	k.run("rollout", "status", "statefulset/ordered", "--timeout=60s")
	k.run("rollout", "status", "daemonset/everywhere", "--timeout=60s")
	has(t, "the pods", k.run("get", "pods", "-o", "name"), "pod/ordered-0", "pod/ordered-1", "pod/everywhere-", "pod/once-")
	slices := k.run("get", "endpointslices", "-l", "kubernetes.io/service-name=web", "-o", "jsonpath={.items[*].endpoints[*].targetRef.name}")
	if n := len(strings.Fields(slices)); n != 3 {
		t.Errorf("endpoints of the service: %s, want 3", slices)
	}
	has(t, "an answer", c.run(t, filepath.Join(filepath.Dir(c.bin), "webapp"), "await", "http://"+k.run("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")+"/"), "v1 web-")
	k.run("delete", "deployment/web", "--cascade=foreground", "--timeout=60s")
	k.run("create", "namespace", "parts-sub")
	k.run("wait", "--for=create", "serviceaccount/default", "-n", "parts-sub", "--timeout=30s")
	k.run("create", "configmap", "inside", "-n", "parts-sub")
	k.run("delete", "namespace", "parts-sub", "--timeout=60s")
}

// startParts starts both as kubeadm does, and ends them after the test.
func startParts(t *testing.T, c cluster) {
	t.Helper()
	who := func(user string) string {
		file := filepath.Join(c.data, user+".kubeconfig")
		c.run(t, c.bin, "certs", "kubeconfig", "--data-dir", c.data, "--user", "system:"+user, "--out", file)
		return file
	}
	pki := filepath.Join(c.data, "pki")
	scheduler, manager := who("kube-scheduler"), who("kube-controller-manager")
	c.beside(t, c.upstream(t, "kube-scheduler"),
		"--kubeconfig="+scheduler, "--authentication-kubeconfig="+scheduler, "--authorization-kubeconfig="+scheduler, "--bind-address=127.0.0.1", "--leader-elect=true")
	c.beside(t, c.upstream(t, "kube-controller-manager"),
		"--kubeconfig="+manager, "--authentication-kubeconfig="+manager, "--authorization-kubeconfig="+manager, "--bind-address=127.0.0.1", "--leader-elect=true",
		"--use-service-account-credentials=true", "--controllers=*,bootstrapsigner,tokencleaner", "--allocate-node-cidrs=true",
		"--cluster-cidr=10.244.0.0/16", "--service-cluster-ip-range=10.96.0.0/12",
		"--root-ca-file="+pki+"/ca.crt", "--cluster-signing-cert-file="+pki+"/ca.crt", "--cluster-signing-key-file="+pki+"/ca.key",
		"--client-ca-file="+pki+"/ca.crt", "--service-account-private-key-file="+pki+"/sa.key")
}

// workloads are of the kinds that have a controller each.
const workloads = `
apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{name: c, image: "example.test/webapp:1", args: [echo, done]}]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: ordered}
spec:
  replicas: 2
  serviceName: web
  selector: {matchLabels: {app: ordered}}
  template:
    metadata: {labels: {app: ordered}}
    spec:
      containers: [{name: c, image: "example.test/webapp:1", args: [wait]}]
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: everywhere}
spec:
  selector: {matchLabels: {app: everywhere}}
  template:
    metadata: {labels: {app: everywhere}}
    spec:
      containers: [{name: c, image: "example.test/webapp:1", args: [wait]}]
`
