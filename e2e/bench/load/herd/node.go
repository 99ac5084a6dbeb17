package herd

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/e2e/bench/load"
)

const (
	// Label marks the nodes of a herd.
	Label = "bench.test/hollow"
	// leaseDuration is a kubelet's.
	leaseDuration = 40 * time.Second
	// images is how many a node says it has: a node with some weeks behind it.
	images = 20
)

func name(prefix string, n int) string { return fmt.Sprintf("%s-%05d", prefix, n) }

// address of a node: from the range that is set aside for benchmarks.
func address(n int) netip.Addr { return add(netip.AddrFrom4([4]byte{198, 18, 0, 0}), n+1) }

// hollow is a node as a kubelet registers it.
func hollow(name string, number int, now time.Time) *corev1.Node {
	n := load.HollowNode(number)
	n.Name = name
	n.Labels[load.HostLabel], n.Labels[Label] = name, "true"
	n.Status.Conditions = conditions(now, now)
	n.Status.Addresses = []corev1.NodeAddress{
		{Type: corev1.NodeInternalIP, Address: address(number).String()}, {Type: corev1.NodeHostName, Address: name},
	}
	n.Status.NodeInfo.ContainerRuntimeVersion = "hollow://1"
	n.Status.NodeInfo.MachineID = fmt.Sprintf("%032x", number)
	for i := range images {
		n.Status.Images = append(n.Status.Images, corev1.ContainerImage{Names: []string{fmt.Sprintf("bench.test/image-%d:1", i)}, SizeBytes: int64(i+1) << 20})
	}
	return n
}

// conditions of a node that is well.
func conditions(now, since time.Time) []corev1.NodeCondition {
	var all []corev1.NodeCondition
	for _, c := range []struct {
		kind    corev1.NodeConditionType
		status  corev1.ConditionStatus
		reason  string
		message string
	}{
		{corev1.NodeMemoryPressure, corev1.ConditionFalse, "KubeletHasSufficientMemory", "kubelet has sufficient memory available"},
		{corev1.NodeDiskPressure, corev1.ConditionFalse, "KubeletHasNoDiskPressure", "kubelet has no disk pressure"},
		{corev1.NodePIDPressure, corev1.ConditionFalse, "KubeletHasSufficientPID", "kubelet has sufficient PID available"},
		{corev1.NodeReady, corev1.ConditionTrue, "KubeletReady", "the node is hollow and always ready"},
	} {
		all = append(all, corev1.NodeCondition{
			Type: c.kind, Status: c.status, Reason: c.reason, Message: c.message, LastHeartbeatTime: metav1.NewTime(now), LastTransitionTime: metav1.NewTime(since),
		})
	}
	return all
}

// report is the strategic merge patch by which a kubelet says that all is as it was: of the whole status only the times of the
// conditions differ. The conditions are whole, so that a node which was taken for dead comes back.
func report(now, since time.Time) []byte {
	return mustJSON(map[string]any{"status": map[string]any{"conditions": conditions(now, since)}})
}

func owner(n *corev1.Node) []metav1.OwnerReference {
	return []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: n.Name, UID: n.UID}}
}

func micro(t time.Time) *metav1.MicroTime {
	m := metav1.NewMicroTime(t)
	return &m
}

// mustJSON encodes what is made of the API's own types and strings, which always can be.
func mustJSON(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}
