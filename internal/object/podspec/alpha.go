package podspec

import corev1 "k8s.io/api/core/v1"

// dropAlpha takes out what belongs to features that are off: groups of pods scheduled together, responders to evictions, options of
// mounts, and owners and modes of the files in volumes.
func dropAlpha(spec *corev1.PodSpec) {
	spec.SchedulingGroup, spec.EvictionResponders = nil, nil
	for i := range spec.InitContainers {
		dropBindOptions(spec.InitContainers[i].VolumeMounts)
	}
	for i := range spec.Containers {
		dropBindOptions(spec.Containers[i].VolumeMounts)
	}
	for i := range spec.EphemeralContainers {
		dropBindOptions(spec.EphemeralContainers[i].VolumeMounts)
	}
	for i := range spec.Volumes {
		v := &spec.Volumes[i]
		if c := v.ConfigMap; c != nil {
			c.DefaultUser = nil
			dropKeyUsers(c.Items)
		}
		if s := v.Secret; s != nil {
			s.DefaultUser = nil
			dropKeyUsers(s.Items)
		}
		if d := v.DownwardAPI; d != nil {
			d.DefaultUser = nil
			dropFileUsers(d.Items)
		}
		if p := v.Projected; p != nil {
			p.DefaultUser = nil
			for k := range p.Sources {
				dropProjectedUsers(&p.Sources[k])
			}
		}
	}
}

func dropProjectedUsers(s *corev1.VolumeProjection) {
	if s.ConfigMap != nil {
		dropKeyUsers(s.ConfigMap.Items)
	}
	if s.Secret != nil {
		dropKeyUsers(s.Secret.Items)
	}
	if s.DownwardAPI != nil {
		dropFileUsers(s.DownwardAPI.Items)
	}
	if s.ServiceAccountToken != nil {
		s.ServiceAccountToken.User = nil
	}
	if s.ClusterTrustBundle != nil {
		s.ClusterTrustBundle.User = nil
	}
	if s.PodCertificate != nil {
		s.PodCertificate.User = nil
	}
}

func dropKeyUsers(items []corev1.KeyToPath) {
	for i := range items {
		items[i].User = nil
	}
}

func dropFileUsers(items []corev1.DownwardAPIVolumeFile) {
	for i := range items {
		items[i].User = nil
	}
}

func dropBindOptions(mounts []corev1.VolumeMount) {
	for i := range mounts {
		mounts[i].BindMountOptions = nil
	}
}
