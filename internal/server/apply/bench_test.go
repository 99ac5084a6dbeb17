package apply

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"hyperkube/internal/object"
)

func benchPod() *corev1.Pod {
	p := &corev1.Pod{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}, ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "default", Labels: map[string]string{"app": "web", "tier": "front"}, Annotations: map[string]string{"a": "b"}}}
	for _, name := range []string{"web", "sidecar"} {
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: name, Image: "example.test/" + name + ":1", Ports: []corev1.ContainerPort{{ContainerPort: 80, Protocol: corev1.ProtocolTCP}},
			Env:          []corev1.EnvVar{{Name: "A", Value: "1"}, {Name: "B", Value: "2"}},
			Resources:    corev1.ResourceRequirements{Requests: corev1.ResourceList{"cpu": resource.MustParse("100m"), "memory": resource.MustParse("64Mi")}},
			VolumeMounts: []corev1.VolumeMount{{Name: "data", MountPath: "/data"}}})
	}
	p.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
	k, _ := object.Builtin().Kind(schema.GroupVersionKind{Version: "v1", Kind: "Pod"})
	k.Default(p)
	return p
}

// What tracking adds to a creation, to an update, and what an apply costs.
func BenchmarkTrackCreate(b *testing.B) {
	m := New()
	k, v := object.Builtin().Kind(schema.GroupVersionKind{Version: "v1", Kind: "Pod"})
	p := benchPod()
	b.ReportAllocs()
	for b.Loop() {
		p.ManagedFields = nil
		if _, err := m.TrackNew(k, v, p, "m"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkTrackUpdate(b *testing.B) {
	m := New()
	k, v := object.Builtin().Kind(schema.GroupVersionKind{Version: "v1", Kind: "Pod"})
	fm, err := m.manager(k, v, "")
	if err != nil {
		b.Fatal(err)
	}
	old := fm.UpdateNoErrors(blank(v), benchPod(), "m").(object.Object)
	b.Logf("%d bytes", len(old.GetManagedFields()[0].FieldsV1.Raw))
	b.ReportAllocs()
	for b.Loop() {
		now := old.DeepCopyObject().(*corev1.Pod)
		now.Status.Phase = corev1.PodRunning
		_, err := m.Track(k, v, "status", now, old, "kubelet")
		if err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkApply(b *testing.B) {
	m := New()
	k, v := object.Builtin().Kind(schema.GroupVersionKind{Version: "v1", Kind: "Pod"})
	patch := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": "p", "namespace": "default", "labels": map[string]any{"x": "y"}}}}
	live, err := m.Apply(k, v, "", benchPod(), patch, "m", false)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Apply(k, v, "", live, patch.DeepCopy(), "m", false); err != nil {
			b.Fatal(err)
		}
	}
}
