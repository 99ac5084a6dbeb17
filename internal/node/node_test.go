package node_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"hyperkube/internal/client"
)

// TestNode checks that the node registers, tells the truth, and comes back when it is deleted or its status overwritten.
func TestNode(t *testing.T) {
	w := newWorld(t)
	w.cfg.Labels = map[string]string{"disk": "fast"}
	w.cfg.Taints = []corev1.Taint{{Key: "k", Effect: corev1.TaintEffectNoSchedule}}
	w.start()
	get := func() *corev1.Node {
		n, err := client.Nodes.Get(t.Context(), w.api, "", "n1")
		if err != nil {
			return &corev1.Node{}
		}
		return n
	}
	await := func(what string, ok func(*corev1.Node) bool) *corev1.Node {
		t.Helper()
		var n *corev1.Node
		w.eventually(what, func() string {
			if n = get(); ok(n) {
				return ""
			}
			return n.String()
		})
		return n
	}
	status := func(n *corev1.Node, c corev1.NodeConditionType) corev1.ConditionStatus {
		for _, x := range n.Status.Conditions {
			if x.Type == c {
				return x.Status
			}
		}
		return ""
	}
	// No network is configured for the runtime, so the node is not ready, and says why.
	n := await("registered", func(n *corev1.Node) bool { return status(n, corev1.NodeReady) == corev1.ConditionFalse })
	if n.Labels["disk"] != "fast" || n.Labels[corev1.LabelHostname] != "n1" || len(n.Spec.Taints) == 0 {
		t.Errorf("%v %v", n.Labels, n.Spec.Taints)
	}
	if n.Status.Capacity.Memory().IsZero() || n.Status.Allocatable.Pods().Value() != 110 || n.Status.Allocatable.Memory().Cmp(*n.Status.Capacity.Memory()) >= 0 ||
		n.Status.NodeInfo.KernelVersion == "" || n.Status.NodeInfo.ContainerRuntimeVersion == "" || n.Status.Addresses[0].Address != "127.0.0.1" {
		t.Errorf("%+v", n.Status)
	}
	if status(n, corev1.NodeMemoryPressure) == "" || status(n, corev1.NodeDiskPressure) == "" || status(n, corev1.NodePIDPressure) == "" {
		t.Errorf("conditions: %+v", n.Status.Conditions)
	}
	w.eventually("lease", func() string {
		l, err := client.Leases.Get(t.Context(), w.api, corev1.NamespaceNodeLease, "n1")
		if err != nil || *l.Spec.HolderIdentity != "n1" || *l.Spec.LeaseDurationSeconds != 40 || l.OwnerReferences[0].UID != n.UID {
			return "none"
		}
		return ""
	})
	_, err := client.Nodes.Modify(t.Context(), w.api, "", "n1", func(n *corev1.Node) bool {
		for i := range n.Status.Conditions {
			n.Status.Conditions[i].Status = corev1.ConditionTrue // as a lie, or Unknown after a silence
		}
		return true
	}, "status")
	if err != nil {
		t.Fatal(err)
	}
	await("set right", func(n *corev1.Node) bool { return status(n, corev1.NodeReady) == corev1.ConditionFalse })
	if err := client.Nodes.Delete(t.Context(), w.api, "", "n1"); err != nil {
		t.Fatal(err)
	}
	await("registered again", func(again *corev1.Node) bool { return again.UID != "" && again.UID != n.UID })
}
