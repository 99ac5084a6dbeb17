package load

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/ociarchive"
)

// Image is that of the pods with a container: one static program that waits.
const Image = "bench.test/wait:1"

// Waiter is the program of the image below the root of the repository.
func Waiter(root string) string { return filepath.Join(root, "build", "bench", "webapp") }

// Archive writes the image into a directory.
func Archive(root, dir string) (string, error) {
	program, err := os.ReadFile(Waiter(root))
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "image.tar")
	f, err := os.Create(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	err = ociarchive.Write(f, ociarchive.Image{
		Ref: Image, Entrypoint: []string{"/webapp", "wait"},
		Files: []ociarchive.File{{Path: "webapp", Mode: 0o755, Data: program}},
	})
	if err != nil {
		return "", err
	}
	return file, f.Close()
}

// Container is a pod with one container that waits.
func Container(namespace, name string) *corev1.Pod {
	grace := int64(0)
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"app": "bench"}},
		Spec: corev1.PodSpec{
			TerminationGracePeriodSeconds: &grace,
			Containers:                    []corev1.Container{{Name: "wait", Image: Image, ImagePullPolicy: corev1.PullNever}},
		},
	}
}

// Run makes a pod and returns when it is Ready.
func Run(ctx context.Context, a *API, pod *corev1.Pod) error {
	if err := a.Create(ctx, Pods, pod.Namespace, pod); err != nil {
		return fmt.Errorf("making pod %s: %w", pod.Name, err)
	}
	return Await(ctx, a, Pods, pod.Namespace, named(pod.Name), PodReady)
}

// PodReady says whether a pod is.
func PodReady(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}
