package plugins

import corev1 "k8s.io/api/core/v1"

// secretsOf are all secrets that a pod names.
func secretsOf(pod *corev1.Pod) []string {
	var out []string
	for i := range pod.Spec.ImagePullSecrets {
		out = append(out, pod.Spec.ImagePullSecrets[i].Name)
	}
	return append(out, mountedSecrets(pod)...)
}

// mountedSecrets are the secrets in a pod's volumes and environment.
func mountedSecrets(pod *corev1.Pod) []string {
	var out []string
	local := func(r *corev1.LocalObjectReference) {
		if r != nil && r.Name != "" {
			out = append(out, r.Name)
		}
	}
	for i := range pod.Spec.Volumes {
		switch v := &pod.Spec.Volumes[i]; {
		case v.Secret != nil:
			out = append(out, v.Secret.SecretName)
		case v.Projected != nil:
			for j := range v.Projected.Sources {
				if s := v.Projected.Sources[j].Secret; s != nil {
					out = append(out, s.Name)
				}
			}
		case v.CSI != nil:
			local(v.CSI.NodePublishSecretRef)
		case v.FlexVolume != nil:
			local(v.FlexVolume.SecretRef)
		case v.ISCSI != nil:
			local(v.ISCSI.SecretRef)
		case v.RBD != nil:
			local(v.RBD.SecretRef)
		case v.CephFS != nil:
			local(v.CephFS.SecretRef)
		case v.ScaleIO != nil:
			local(v.ScaleIO.SecretRef)
		case v.StorageOS != nil:
			local(v.StorageOS.SecretRef)
		case v.AzureFile != nil:
			out = append(out, v.AzureFile.SecretName)
		}
	}
	eachEnv(pod, func(env []corev1.EnvVar, from []corev1.EnvFromSource) {
		for i := range env {
			if s := env[i].ValueFrom; s != nil && s.SecretKeyRef != nil {
				out = append(out, s.SecretKeyRef.Name)
			}
		}
		for i := range from {
			if s := from[i].SecretRef; s != nil {
				out = append(out, s.Name)
			}
		}
	})
	return out
}

// configMapsOf are all config maps that a pod names.
func configMapsOf(pod *corev1.Pod) []string {
	var out []string
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		if v.ConfigMap != nil {
			out = append(out, v.ConfigMap.Name)
		}
		if v.Projected == nil {
			continue
		}
		for j := range v.Projected.Sources {
			if s := v.Projected.Sources[j].ConfigMap; s != nil {
				out = append(out, s.Name)
			}
		}
	}
	eachEnv(pod, func(env []corev1.EnvVar, from []corev1.EnvFromSource) {
		for i := range env {
			if s := env[i].ValueFrom; s != nil && s.ConfigMapKeyRef != nil {
				out = append(out, s.ConfigMapKeyRef.Name)
			}
		}
		for i := range from {
			if s := from[i].ConfigMapRef; s != nil {
				out = append(out, s.Name)
			}
		}
	})
	return out
}

func eachEnv(pod *corev1.Pod, f func([]corev1.EnvVar, []corev1.EnvFromSource)) {
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			f(list[i].Env, list[i].EnvFrom)
		}
	}
	for i := range pod.Spec.EphemeralContainers {
		f(pod.Spec.EphemeralContainers[i].Env, pod.Spec.EphemeralContainers[i].EnvFrom)
	}
}
