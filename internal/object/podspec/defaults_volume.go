package podspec

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

func defaultVolume(v *corev1.VolumeSource) {
	if *v == (corev1.VolumeSource{}) {
		v.EmptyDir = &corev1.EmptyDirVolumeSource{}
		return
	}
	if s := v.Secret; s != nil {
		setDefaultPtr(&s.DefaultMode, corev1.SecretVolumeSourceDefaultMode)
	}
	if s := v.ConfigMap; s != nil {
		setDefaultPtr(&s.DefaultMode, corev1.ConfigMapVolumeSourceDefaultMode)
	}
	if s := v.DownwardAPI; s != nil {
		setDefaultPtr(&s.DefaultMode, corev1.DownwardAPIVolumeSourceDefaultMode)
		defaultDownwardItems(s.Items)
	}
	if s := v.Projected; s != nil {
		setDefaultPtr(&s.DefaultMode, corev1.ProjectedVolumeSourceDefaultMode)
		for i := range s.Sources {
			defaultProjection(&s.Sources[i])
		}
	}
	if s := v.HostPath; s != nil {
		setDefaultPtr(&s.Type, corev1.HostPathUnset)
	}
	if s := v.Image; s != nil {
		setDefault(&s.PullPolicy, PullPolicy(s.Reference))
	}
	if s := v.Ephemeral; s != nil && s.VolumeClaimTemplate != nil {
		DefaultClaim(&s.VolumeClaimTemplate.Spec)
	}
	defaultNetworkVolume(v)
}

func defaultProjection(p *corev1.VolumeProjection) {
	if t := p.ServiceAccountToken; t != nil {
		setDefaultPtr(&t.ExpirationSeconds, 60*60)
	}
	if d := p.DownwardAPI; d != nil {
		defaultDownwardItems(d.Items)
	}
}

func defaultDownwardItems(items []corev1.DownwardAPIVolumeFile) {
	for i := range items {
		if f := items[i].FieldRef; f != nil {
			setDefault(&f.APIVersion, "v1")
		}
	}
}

// defaultNetworkVolume covers the storage of the in-tree drivers, served for old manifests' sake.
func defaultNetworkVolume(v *corev1.VolumeSource) {
	if s := v.ISCSI; s != nil {
		setDefault(&s.ISCSIInterface, "default")
	}
	if s := v.RBD; s != nil {
		setDefault(&s.RBDPool, "rbd")
		setDefault(&s.RadosUser, "admin")
		setDefault(&s.Keyring, "/etc/ceph/keyring")
	}
	if s := v.AzureDisk; s != nil {
		DefaultAzureDisk(s)
	}
	if s := v.ScaleIO; s != nil {
		setDefault(&s.StorageMode, "ThinProvisioned")
		setDefault(&s.FSType, "xfs")
	}
}

// DefaultAzureDisk fills in the documented defaults of an Azure disk.
func DefaultAzureDisk(s *corev1.AzureDiskVolumeSource) {
	setDefaultPtr(&s.CachingMode, corev1.AzureDataDiskCachingReadWrite)
	setDefaultPtr(&s.Kind, corev1.AzureSharedBlobDisk)
	setDefaultPtr(&s.FSType, "ext4")
	setDefaultPtr(&s.ReadOnly, false)
}

// DefaultClaim fills in what the specification of a persistent volume claim leaves out.
func DefaultClaim(s *corev1.PersistentVolumeClaimSpec) {
	if s.VolumeMode == nil {
		s.VolumeMode = ptr.To(corev1.PersistentVolumeFilesystem)
	}
	RoundUp(s.Resources.Limits)
	RoundUp(s.Resources.Requests)
}

// PrepareClaim makes the sources that a claim is filled from say the same: dataSource can only be another claim or a snapshot, and all
// else is dropped; a dataSourceRef without a namespace can be anything, and is copied into the other field, as is dataSource (KEP-1495).
// References to other namespaces (KEP-3294) are dropped. What an old claim has stays to be judged; old is nil for a new one.
func PrepareClaim(s, old *corev1.PersistentVolumeClaimSpec) {
	if r := s.DataSourceRef; r != nil && ptr.Deref(r.Namespace, "") != "" && (old == nil || old.DataSourceRef == nil) {
		s.DataSourceRef = nil
	}
	if (old == nil || old.DataSource == nil) && s.DataSourceRef == nil && s.DataSource != nil && !plainSource(s.DataSource) {
		s.DataSource = nil
	}
	switch {
	case s.DataSource != nil && s.DataSourceRef == nil:
		s.DataSourceRef = &corev1.TypedObjectReference{
			APIGroup: s.DataSource.APIGroup, Kind: s.DataSource.Kind, Name: s.DataSource.Name,
		}
	case s.DataSourceRef != nil && s.DataSource == nil && ptr.Deref(s.DataSourceRef.Namespace, "") == "":
		s.DataSource = &corev1.TypedLocalObjectReference{
			APIGroup: s.DataSourceRef.APIGroup, Kind: s.DataSourceRef.Kind, Name: s.DataSourceRef.Name,
		}
	}
}

func plainSource(r *corev1.TypedLocalObjectReference) bool {
	switch ptr.Deref(r.APIGroup, "") {
	case "":
		return r.Kind == "PersistentVolumeClaim"
	case "snapshot.storage.k8s.io":
		return r.Kind == "VolumeSnapshot"
	}
	return false
}
