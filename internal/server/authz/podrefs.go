package authz

import corev1 "k8s.io/api/core/v1"

// refers says whether a pod names an object of its own namespace.
func refers(p *corev1.Pod, kind refKind, name string) bool {
	switch kind {
	case podRef:
		return p.Name == name
	case accountRef:
		return p.Spec.ServiceAccountName == name
	case secretRef:
		return podSecret(p, name)
	case configMapRef:
		return podConfigMap(p, name)
	case claimRef:
		for _, c := range claimsOf(p) {
			if c == name {
				return true
			}
		}
	case resourceClaimRef:
		return podResourceClaim(p, name)
	}
	return false
}

func podResourceClaim(p *corev1.Pod, name string) bool {
	for i := range p.Spec.ResourceClaims {
		if c := p.Spec.ResourceClaims[i].ResourceClaimName; c != nil && *c == name {
			return true
		}
	}
	for _, s := range p.Status.ResourceClaimStatuses {
		if s.ResourceClaimName != nil && *s.ResourceClaimName == name {
			return true
		}
	}
	e := p.Status.ExtendedResourceClaimStatus
	return e != nil && e.ResourceClaimName == name
}

// claimsOf are the names of the volume claims of a pod, those made for its ephemeral volumes included.
func claimsOf(p *corev1.Pod) []string {
	var out []string
	for i := range p.Spec.Volumes {
		switch v := &p.Spec.Volumes[i]; {
		case v.PersistentVolumeClaim != nil:
			out = append(out, v.PersistentVolumeClaim.ClaimName)
		case v.Ephemeral != nil:
			out = append(out, p.Name+"-"+v.Name)
		}
	}
	return out
}

// eachEnv shows f the environment of every container until it returns true.
func eachEnv(p *corev1.Pod, f func([]corev1.EnvVar, []corev1.EnvFromSource) bool) bool {
	for _, list := range [][]corev1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for i := range list {
			if f(list[i].Env, list[i].EnvFrom) {
				return true
			}
		}
	}
	for i := range p.Spec.EphemeralContainers {
		if f(p.Spec.EphemeralContainers[i].Env, p.Spec.EphemeralContainers[i].EnvFrom) {
			return true
		}
	}
	return false
}

func podConfigMap(p *corev1.Pod, name string) bool {
	for i := range p.Spec.Volumes {
		v := &p.Spec.Volumes[i]
		if v.ConfigMap != nil && v.ConfigMap.Name == name {
			return true
		}
		if v.Projected == nil {
			continue
		}
		for j := range v.Projected.Sources {
			if c := v.Projected.Sources[j].ConfigMap; c != nil && c.Name == name {
				return true
			}
		}
	}
	return eachEnv(p, func(env []corev1.EnvVar, from []corev1.EnvFromSource) bool {
		for i := range from {
			if c := from[i].ConfigMapRef; c != nil && c.Name == name {
				return true
			}
		}
		for i := range env {
			if s := env[i].ValueFrom; s != nil && s.ConfigMapKeyRef != nil && s.ConfigMapKeyRef.Name == name {
				return true
			}
		}
		return false
	})
}

func podSecret(p *corev1.Pod, name string) bool {
	for i := range p.Spec.ImagePullSecrets {
		if p.Spec.ImagePullSecrets[i].Name == name {
			return true
		}
	}
	for i := range p.Spec.Volumes {
		if sourceSecret(&p.Spec.Volumes[i].VolumeSource, name) {
			return true
		}
	}
	return eachEnv(p, func(env []corev1.EnvVar, from []corev1.EnvFromSource) bool {
		for i := range from {
			if s := from[i].SecretRef; s != nil && s.Name == name {
				return true
			}
		}
		for i := range env {
			if s := env[i].ValueFrom; s != nil && s.SecretKeyRef != nil && s.SecretKeyRef.Name == name {
				return true
			}
		}
		return false
	})
}

func sourceSecret(v *corev1.VolumeSource, name string) bool {
	is := func(r *corev1.LocalObjectReference) bool { return r != nil && r.Name == name }
	switch {
	case v.Secret != nil:
		return v.Secret.SecretName == name
	case v.Projected != nil:
		for i := range v.Projected.Sources {
			if s := v.Projected.Sources[i].Secret; s != nil && s.Name == name {
				return true
			}
		}
	case v.CSI != nil:
		return is(v.CSI.NodePublishSecretRef)
	case v.FlexVolume != nil:
		return is(v.FlexVolume.SecretRef)
	case v.ISCSI != nil:
		return is(v.ISCSI.SecretRef)
	case v.RBD != nil:
		return is(v.RBD.SecretRef)
	case v.CephFS != nil:
		return is(v.CephFS.SecretRef)
	case v.ScaleIO != nil:
		return is(v.ScaleIO.SecretRef)
	case v.StorageOS != nil:
		return is(v.StorageOS.SecretRef)
	case v.AzureFile != nil:
		return v.AzureFile.SecretName == name
	}
	return false
}

// volumeSecret says whether a volume names a secret that the kubelet reads.
func volumeSecret(pv *corev1.PersistentVolume, namespace, name string) bool {
	is := func(r *corev1.SecretReference) bool {
		if r == nil || r.Name != name {
			return false
		}
		ns := r.Namespace
		if ns == "" {
			ns = pv.Spec.ClaimRef.Namespace
		}
		return ns == namespace
	}
	switch v := &pv.Spec.PersistentVolumeSource; {
	case v.CSI != nil:
		return is(v.CSI.NodePublishSecretRef) || is(v.CSI.NodeStageSecretRef) || is(v.CSI.NodeExpandSecretRef)
	case v.FlexVolume != nil:
		return is(v.FlexVolume.SecretRef)
	case v.ISCSI != nil:
		return is(v.ISCSI.SecretRef)
	case v.RBD != nil:
		return is(v.RBD.SecretRef)
	case v.CephFS != nil:
		return is(v.CephFS.SecretRef)
	case v.ScaleIO != nil:
		return is(v.ScaleIO.SecretRef)
	case v.AzureFile != nil:
		ns := pv.Spec.ClaimRef.Namespace
		if v.AzureFile.SecretNamespace != nil {
			ns = *v.AzureFile.SecretNamespace
		}
		return v.AzureFile.SecretName == name && ns == namespace
	}
	return false
}
