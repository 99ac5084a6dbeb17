package streams

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestContainerName(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}}
	pod.Spec.Containers = []corev1.Container{{Name: "a"}}
	if got, err := containerName(pod, ""); got != "a" || err != nil {
		t.Error(got, err)
	}
	pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: "b"})
	pod.Spec.InitContainers = []corev1.Container{{Name: "i"}}
	_, err := containerName(pod, "")
	if err == nil || !strings.Contains(err.Error(), "choose one of: [a b] or one of the init containers: [i]") {
		t.Error(err)
	}
	if _, err := containerName(pod, "x"); err == nil || !strings.Contains(err.Error(), "container x is not valid for pod p") {
		t.Error(err)
	}
	if got, err := containerName(pod, "i"); got != "i" || err != nil {
		t.Error(got, err)
	}
	pod.Annotations = map[string]string{defaultContainer: "b"}
	if got, err := containerName(pod, ""); got != "b" || err != nil {
		t.Error(got, err)
	}
}

func TestLogOptions(t *testing.T) {
	minus, zero, one := int64(-1), int64(0), int64(1)
	now := metav1.Now()
	for name, o := range map[string]corev1.PodLogOptions{
		"tail":  {TailLines: &minus},
		"limit": {LimitBytes: &zero},
		"since": {SinceSeconds: &zero},
		"both":  {SinceSeconds: &one, SinceTime: &now},
	} {
		if len(validLogOptions(&o)) != 1 {
			t.Errorf("%s: accepted", name)
		}
	}
	if q := logQuery(&corev1.PodLogOptions{Follow: true, TailLines: &one}); q.Encode() != "follow=true&tailLines=1" {
		t.Error(q.Encode())
	}
}
