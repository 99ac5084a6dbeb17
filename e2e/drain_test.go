package e2e

import (
	"testing"
)

// TestDrain empties the node and takes it into service again.
func TestDrain(t *testing.T) {
	h := newCluster(t)
	k := h.upstream()
	k.run("create", "-f", "testdata/web.yaml", "-f", "testdata/drain.yaml")
	k.run("rollout", "status", "deployment/web", "--timeout=50s")
	k.run("rollout", "status", "daemonset/everywhere", "--timeout=30s")
	k.run("wait", "--for=condition=Ready", "pod/alone", "--timeout=30s")
	k.run("wait", "--for=condition=Ready", "pods", "-l", "app=scratch", "--timeout=30s")

	said := k.fails("drain", "one", "--timeout=20s")
	has(t, "drain without a word on what would be lost", said,
		"cannot delete DaemonSet-managed Pods (use --ignore-daemonsets to ignore): default/everywhere-",
		"cannot delete Pods with local storage (use --delete-emptydir-data to override): default/scratch-",
		"cannot delete Pods that declare no controller (use --force to override): default/alone")
	k.says(words("get node one"), "Ready,SchedulingDisabled")
	k.says(words("describe node one"), "node.kubernetes.io/unschedulable:NoSchedule", "Unschedulable: true")

	// The budget says how many may go: none. Whoever keeps it writes that into its status.
	k.run("patch", "poddisruptionbudget", "web", "--subresource=status", "--type=merge", "-p",
		`{"status":{"observedGeneration":1,"currentHealthy":3,"desiredHealthy":3,"expectedPods":3,"disruptionsAllowed":0}}`)
	web := words(k.run("get", "pods", "-l", "app=web", "-o", "name"))
	drain := words("drain one --ignore-daemonsets --delete-emptydir-data --force")
	has(t, "drain against a budget", k.fails(append(drain, "--timeout=3s")...),
		"Cannot evict pod as it would violate the pod's disruption budget.", "global timeout reached: 3s")
	if left := words(k.run("get", "pods", "-l", "app=web", "--field-selector=spec.nodeName=one", "-o", "name")); len(without(web, left)) > 0 {
		t.Errorf("evicted against the budget: %q", without(web, left))
	}
	k.run("wait", "--for=delete", "pod/alone", "--timeout=30s")

	k.run("delete", "poddisruptionbudget", "web")
	k.says(append(drain, "--timeout=40s"), "node/one drained", "evicted")
	left := k.run("get", "pods", "--field-selector=spec.nodeName=one", "-o", "jsonpath={.items[*].metadata.labels.app}")
	if left != "everywhere" {
		t.Errorf("after the drain the node has pods of %q, want the daemon set's alone", left)
	}
	k.run("wait", "--for=jsonpath={.status.phase}=Pending", "pods", "-l", "app=web", "--timeout=10s")
	k.says(words("uncordon one"), "node/one uncordoned")
	k.run("rollout", "status", "deployment/web", "--timeout=50s")

	k.run("taint", "node", "one", "purpose=test:NoSchedule")
	k.run("run", "waits", "--image="+webImage)
	k.run("wait", "--for=jsonpath={.status.conditions[0].reason}=Unschedulable", "pod/waits", "--timeout=20s")
	k.says(words("events --for=pod/waits"), "FailedScheduling", "untolerated taint")
	k.run("taint", "node", "one", "purpose-")
	k.run("wait", "--for=condition=Ready", "pod/waits", "--timeout=30s")
}
