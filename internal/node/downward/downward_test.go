package downward

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestField(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Name: "n", Namespace: "ns", UID: "u",
		Labels: map[string]string{"b": "2", "a": "x\"y"}, Annotations: map[string]string{"k.io/x": "v\nw"},
	}}
	f := Facts{PodIPs: []string{"10.0.0.1", "fd00::1"}, HostIPs: []string{"192.0.2.1"}}
	for path, want := range map[string]string{
		"metadata.name": "n", "metadata.namespace": "ns", "metadata.uid": "u",
		"metadata.labels": "a=\"x\\\"y\"\nb=\"2\"", "metadata.labels['b']": "2", "metadata.labels['none']": "",
		"metadata.annotations['k.io/x']": "v\nw", "metadata.annotations": "k.io/x=\"v\\nw\"",
		"status.podIP": "10.0.0.1", "status.podIPs": "10.0.0.1,fd00::1", "status.hostIP": "192.0.2.1",
	} {
		if got, err := Field(pod, path, f); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", path, got, err, want)
		}
	}
	for _, path := range []string{"status.phase", "spec.nodeName['x']", ""} {
		if _, err := Field(pod, path, f); err == nil {
			t.Errorf("%s: no error", path)
		}
	}
}

func TestResource(t *testing.T) {
	q := resource.MustParse
	c := &corev1.Container{Name: "c", Resources: corev1.ResourceRequirements{
		Limits:   corev1.ResourceList{"cpu": q("1250m")},
		Requests: corev1.ResourceList{"memory": q("32Mi")},
	}}
	pod := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{*c}}}
	f := Facts{Allocatable: corev1.ResourceList{"memory": q("1Gi")}}
	for _, tc := range []struct{ res, div, want string }{
		{"limits.cpu", "0", "2"}, {"limits.cpu", "1m", "1250"}, {"requests.cpu", "0", "0"},
		{"requests.memory", "1Mi", "32"}, {"limits.memory", "1Mi", "1024"}, {"requests.memory", "0", "33554432"},
	} {
		got, err := Resource(pod, &corev1.ResourceFieldSelector{ContainerName: "c", Resource: tc.res, Divisor: q(tc.div)}, nil, f)
		if err != nil || got != tc.want {
			t.Errorf("%s / %s: %q, %v; want %q", tc.res, tc.div, got, err, tc.want)
		}
	}
	if _, err := Resource(pod, &corev1.ResourceFieldSelector{Resource: "limits.gpu"}, c, f); err == nil {
		t.Error("limits.gpu: no error")
	}
}
