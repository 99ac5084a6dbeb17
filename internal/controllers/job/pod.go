package job

import (
	"fmt"
	"slices"
	"strconv"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"hyperkube/internal/controllers/podset"
)

// longestPrefix leaves room for the five characters that the server appends to generated names.
const longestPrefix = 58

const indexEnv = "JOB_COMPLETION_INDEX"

// pod makes the next pod; index is -1 for a job without them.
func (s *survey) pod(index int) *corev1.Pod {
	pod := podset.FromTemplate(s.job, kind, &s.job.Spec.Template)
	if !slices.Contains(pod.Finalizers, batchv1.JobTrackingFinalizer) {
		pod.Finalizers = append(pod.Finalizers, batchv1.JobTrackingFinalizer)
	}
	if index < 0 {
		return pod
	}
	text := strconv.Itoa(index)
	if pod.Annotations == nil {
		pod.Annotations = map[string]string{}
	}
	if pod.Labels == nil {
		pod.Labels = map[string]string{}
	}
	pod.Annotations[batchv1.JobCompletionIndexAnnotation] = text
	pod.Labels[batchv1.JobCompletionIndexAnnotation] = text
	suffix := "-" + text
	pod.Spec.Hostname = s.job.Name + suffix
	pod.GenerateName = s.job.Name[:min(len(s.job.Name), longestPrefix-len(suffix)-1)] + suffix + "-"
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			nameIndex(&list[i])
		}
	}
	if s.perIndex {
		s.remember(pod, index)
	}
	return pod
}

// nameIndex tells a container its index.
func nameIndex(c *corev1.Container) {
	if slices.ContainsFunc(c.Env, func(e corev1.EnvVar) bool { return e.Name == indexEnv }) {
		return
	}
	c.Env = append(c.Env, corev1.EnvVar{Name: indexEnv, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{
		FieldPath: fmt.Sprintf("metadata.labels['%s']", batchv1.JobCompletionIndexAnnotation),
	}}})
}

// remember hands on how often the index has failed.
func (s *survey) remember(pod *corev1.Pod, index int) {
	pod.Annotations[failureCountAnnotation] = "0"
	d := s.delayed[index]
	if d == nil {
		return
	}
	counted, ignored := s.tried(d)
	pod.Annotations[failureCountAnnotation] = strconv.Itoa(counted)
	if ignored > 0 {
		pod.Annotations[ignoredCountAnnotation] = strconv.Itoa(ignored)
	}
}
