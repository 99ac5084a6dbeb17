package load

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
)

// Hollow pods have no containers behind them, hollow nodes no machine: both exist only in the API.
const (
	ZoneLabel = "topology.kubernetes.io/zone"
	HostLabel = "kubernetes.io/hostname"
	zones     = 10
)

// Prepare makes a namespace in which pods can be made without any controller.
func Prepare(ctx context.Context, a *API, namespace string) error {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
	if err := a.Create(ctx, Namespaces, "", ns); err != nil {
		return err
	}
	return a.Create(ctx, ServiceAccounts, namespace, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}})
}

// HollowPod is a pod of about 2 KB.
func HollowPod(namespace string, n int) *corev1.Pod {
	off := false
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: fmt.Sprintf("pod-%05d", n),
			Labels:      map[string]string{"app": "bench", "group": fmt.Sprintf("g%03d", n%100)},
			Annotations: map[string]string{"bench.test/filler": strings.Repeat("x", 900)},
		},
		Spec: corev1.PodSpec{
			AutomountServiceAccountToken: &off,
			Tolerations:                  []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
			Containers: []corev1.Container{{
				Name: "main", Image: "bench.test/none:1", Command: []string{"/none"},
				Env:       []corev1.EnvVar{{Name: "A", Value: "one"}, {Name: "B", Value: "two"}},
				Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("100Mi")}},
			}},
		},
	}
}

// CreateHollowPods are the requests that make some of them.
func CreateHollowPods(namespace, format string, count int) ([]Message, error) {
	info, ok := runtime.SerializerInfoForMediaType(scheme.Codecs.SupportedMediaTypes(), format)
	if !ok {
		return nil, fmt.Errorf("no encoder for %s", format)
	}
	to := scheme.Codecs.WithoutConversion().EncoderForVersion(info.Serializer, corev1.SchemeGroupVersion)
	all := make([]Message, count)
	for n := range all {
		body, err := runtime.Encode(to, HollowPod(namespace, n))
		if err != nil {
			return nil, err
		}
		all[n] = Message{Method: http.MethodPost, Path: Pods.Path(namespace, ""), Type: format, Accept: format, Body: body, Code: http.StatusCreated}
	}
	return all, nil
}

// HollowNode is a node with room for 110 pods.
func HollowNode(n int) *corev1.Node {
	name := fmt.Sprintf("node-%05d", n)
	room := corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("16"), corev1.ResourceMemory: resource.MustParse("64Gi"),
		corev1.ResourcePods: resource.MustParse("110"), corev1.ResourceEphemeralStorage: resource.MustParse("100Gi"),
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{HostLabel: name, ZoneLabel: fmt.Sprintf("zone-%d", n%zones), "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}},
		Status: corev1.NodeStatus{
			Capacity: room, Allocatable: room,
			Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "Hollow", LastHeartbeatTime: metav1.Now(), LastTransitionTime: metav1.Now()}},
			NodeInfo:   corev1.NodeSystemInfo{OperatingSystem: "linux", Architecture: "amd64", KubeletVersion: "v1.37.2"},
		},
	}
}
