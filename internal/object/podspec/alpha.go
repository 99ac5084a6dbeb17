package podspec

import corev1 "k8s.io/api/core/v1"

// dropAlpha takes out what belongs to features that are off: groups of pods scheduled together, responders to evictions, options of
// mounts, signals that stop containers, how probes secure their connections, modes of empty directories, and owners and modes of the
// files in volumes.
func dropAlpha(spec *corev1.PodSpec) {
	spec.SchedulingGroup, spec.EvictionResponders = nil, nil
	for i := range spec.InitContainers {
		dropContainerAlpha(&spec.InitContainers[i])
	}
	for i := range spec.Containers {
		dropContainerAlpha(&spec.Containers[i])
	}
	for i := range spec.EphemeralContainers {
		c := corev1.Container(spec.EphemeralContainers[i].EphemeralContainerCommon)
		dropContainerAlpha(&c)
		spec.EphemeralContainers[i].EphemeralContainerCommon = corev1.EphemeralContainerCommon(c)
	}
	for i := range spec.Volumes {
		v := &spec.Volumes[i]
		if e := v.EmptyDir; e != nil {
			e.Mode = nil
		}
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

func dropContainerAlpha(c *corev1.Container) {
	dropBindOptions(c.VolumeMounts)
	for _, p := range []*corev1.Probe{c.LivenessProbe, c.ReadinessProbe, c.StartupProbe} {
		if p != nil {
			dropProtocol(p.HTTPGet)
			if p.GRPC != nil {
				p.GRPC.Mode = nil
			}
		}
	}
	l := c.Lifecycle
	if l == nil {
		return
	}
	for _, h := range []*corev1.LifecycleHandler{l.PostStart, l.PreStop} {
		if h != nil {
			dropProtocol(h.HTTPGet)
		}
	}
	if l.StopSignal != nil {
		l.StopSignal = nil
		if *l == (corev1.Lifecycle{}) {
			c.Lifecycle = nil
		}
	}
}

func dropProtocol(a *corev1.HTTPGetAction) {
	if a != nil {
		a.Protocol = nil
	}
}

func dropBindOptions(mounts []corev1.VolumeMount) {
	for i := range mounts {
		mounts[i].BindMountOptions = nil
	}
}
