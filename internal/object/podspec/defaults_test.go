package podspec

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

func TestPullPolicy(t *testing.T) {
	for image, want := range map[string]corev1.PullPolicy{
		"nginx":                            corev1.PullAlways,
		"nginx:latest":                     corev1.PullAlways,
		"nginx:1.27":                       corev1.PullIfNotPresent,
		"registry.example:5000/nginx":      corev1.PullAlways,
		"registry.example:5000/a/nginx:v1": corev1.PullIfNotPresent,
		"nginx@sha256:0123":                corev1.PullIfNotPresent,
		"nginx:latest@sha256:0123":         corev1.PullIfNotPresent,
		"":                                 corev1.PullIfNotPresent,
	} {
		if got := PullPolicy(image); got != want {
			t.Errorf("%q: %s, want %s", image, got, want)
		}
	}
}

func TestPodLevelRequests(t *testing.T) {
	q := resource.MustParse
	spec := &corev1.PodSpec{
		Resources: &corev1.ResourceRequirements{Limits: corev1.ResourceList{"cpu": q("2"), "memory": q("1Gi")}},
		Containers: []corev1.Container{
			{Name: "a", Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{"cpu": q("500m")}}},
			{Name: "b", Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{"cpu": q("250m")}}},
		},
	}
	Default(spec)
	cpu, memory := spec.Resources.Requests["cpu"], spec.Resources.Requests["memory"]
	if cpu.String() != "750m" || memory.String() != "1Gi" {
		t.Errorf("requests %s and %s", cpu.String(), memory.String())
	}
}

func TestRoundUp(t *testing.T) {
	l := corev1.ResourceList{"cpu": resource.MustParse("100u"), "memory": resource.MustParse("1Mi")}
	RoundUp(l)
	cpu, memory := l["cpu"], l["memory"]
	if cpu.String() != "1m" || memory.String() != "1Mi" {
		t.Errorf("rounded to %s and %s", cpu.String(), memory.String())
	}
}

func TestTemplatesKeepTheirRequests(t *testing.T) {
	spec := &corev1.PodSpec{HostNetwork: true, Containers: []corev1.Container{{
		Name: "a", Image: "i:1", Ports: []corev1.ContainerPort{{ContainerPort: 80}},
		Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{"cpu": resource.MustParse("1")}},
	}}}
	DefaultTemplate(spec)
	if c := spec.Containers[0]; len(c.Resources.Requests) > 0 || c.Ports[0].HostPort != 0 {
		t.Errorf("a template got the defaults of a pod: %+v", c)
	}
	Default(spec)
	if c := spec.Containers[0]; len(c.Resources.Requests) != 1 || c.Ports[0].HostPort != 80 {
		t.Errorf("a pod did not get its defaults: %+v", c)
	}
}
