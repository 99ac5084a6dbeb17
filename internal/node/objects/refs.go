package objects

import (
	corev1 "k8s.io/api/core/v1"

	"hyperkube/internal/object"
)

// ref names one config map or secret.
type ref struct {
	secret bool
	object.Key
}

// refsOf lists what a pod refers to: environment, volumes and pull secrets.
func refsOf(pod *corev1.Pod) map[ref]bool {
	refs := map[ref]bool{}
	add := func(secret bool, name string) {
		if name != "" {
			refs[ref{secret, object.Key{Namespace: pod.Namespace, Name: name}}] = true
		}
	}
	for i := range pod.Spec.Volumes {
		volumeRefs(&pod.Spec.Volumes[i].VolumeSource, add)
	}
	for _, s := range pod.Spec.ImagePullSecrets {
		add(true, s.Name)
	}
	for i := range pod.Spec.InitContainers {
		envRefs(pod.Spec.InitContainers[i].EnvFrom, pod.Spec.InitContainers[i].Env, add)
	}
	for i := range pod.Spec.Containers {
		envRefs(pod.Spec.Containers[i].EnvFrom, pod.Spec.Containers[i].Env, add)
	}
	for i := range pod.Spec.EphemeralContainers {
		envRefs(pod.Spec.EphemeralContainers[i].EnvFrom, pod.Spec.EphemeralContainers[i].Env, add)
	}
	return refs
}

func volumeRefs(v *corev1.VolumeSource, add func(secret bool, name string)) {
	if v.ConfigMap != nil {
		add(false, v.ConfigMap.Name)
	}
	if v.Secret != nil {
		add(true, v.Secret.SecretName)
	}
	if v.Projected == nil {
		return
	}
	for _, s := range v.Projected.Sources {
		if s.ConfigMap != nil {
			add(false, s.ConfigMap.Name)
		}
		if s.Secret != nil {
			add(true, s.Secret.Name)
		}
	}
}

func envRefs(from []corev1.EnvFromSource, vars []corev1.EnvVar, add func(secret bool, name string)) {
	for _, f := range from {
		if f.ConfigMapRef != nil {
			add(false, f.ConfigMapRef.Name)
		}
		if f.SecretRef != nil {
			add(true, f.SecretRef.Name)
		}
	}
	for _, v := range vars {
		if v.ValueFrom == nil {
			continue
		}
		if r := v.ValueFrom.ConfigMapKeyRef; r != nil {
			add(false, r.Name)
		}
		if r := v.ValueFrom.SecretKeyRef; r != nil {
			add(true, r.Name)
		}
	}
}

func keyOf(namespace, name string) object.Key { return object.Key{Namespace: namespace, Name: name} }
