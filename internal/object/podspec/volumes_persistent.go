package podspec

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// ValidatePersistentSource wants a persistent volume to be of exactly one kind of storage, and judges that.
func ValidatePersistentSource(v *corev1.PersistentVolumeSource, at *field.Path) field.ErrorList {
	var out errs
	n := 0
	for _, s := range persistentSources(v) {
		if !s.set {
			continue
		}
		if n++; n > 1 {
			out = append(out, field.Forbidden(at.Child(s.name), "may not specify more than 1 volume type"))
		} else if s.judge != nil {
			out = append(out, s.judge(at.Child(s.name))...)
		}
	}
	if n == 0 {
		out = append(out, field.Required(at, "must specify a volume type"))
	}
	return out
}

// persistentSources are the kinds of storage in the order in which they are judged.
func persistentSources(v *corev1.PersistentVolumeSource) []namedSource {
	return []namedSource{
		{"hostPath", v.HostPath != nil, func(at *field.Path) errs { return ValidateHostPath(v.HostPath, at) }},
		{"persistentDisk", v.GCEPersistentDisk != nil, func(at *field.Path) errs {
			return append(texts(at, "pdName", v.GCEPersistentDisk.PDName), partition(v.GCEPersistentDisk.Partition, at)...)
		}},
		{"awsElasticBlockStore", v.AWSElasticBlockStore != nil, func(at *field.Path) errs {
			return append(texts(at, "volumeID", v.AWSElasticBlockStore.VolumeID), partition(v.AWSElasticBlockStore.Partition, at)...)
		}},
		{"glusterfs", v.Glusterfs != nil, func(at *field.Path) errs {
			return texts(at, "endpoints", v.Glusterfs.EndpointsName, "path", v.Glusterfs.Path)
		}},
		{"flocker", v.Flocker != nil, func(at *field.Path) errs { return validateFlocker(v.Flocker, at) }},
		{"nfs", v.NFS != nil, func(at *field.Path) errs { return ValidateNFS(v.NFS, at) }},
		{"rbd", v.RBD != nil, func(at *field.Path) errs {
			var out errs
			if len(v.RBD.CephMonitors) == 0 {
				out = append(out, field.Required(at.Child("monitors"), ""))
			}
			return append(out, texts(at, "image", v.RBD.RBDImage)...)
		}},
		{"quobyte", v.Quobyte != nil, func(at *field.Path) errs { return validateQuobyte(v.Quobyte, at) }},
		{"cephfs", v.CephFS != nil, func(at *field.Path) errs {
			if len(v.CephFS.Monitors) == 0 {
				return errs{field.Required(at.Child("monitors"), "")}
			}
			return nil
		}},
		{"iscsi", v.ISCSI != nil, func(at *field.Path) errs { return texts(at, "targetPortal", v.ISCSI.TargetPortal, "iqn", v.ISCSI.IQN) }},
		{"cinder", v.Cinder != nil, func(at *field.Path) errs {
			return append(texts(at, "volumeID", v.Cinder.VolumeID), secretElsewhere(v.Cinder.SecretRef, at.Child("secretRef"))...)
		}},
		{"fc", v.FC != nil, func(at *field.Path) errs { return validateFC(v.FC, at) }},
		{"flexVolume", v.FlexVolume != nil, func(at *field.Path) errs {
			return append(texts(at, "driver", v.FlexVolume.Driver), flexOptions(v.FlexVolume.Options, at.Child("options"))...)
		}},
		{"azureFile", v.AzureFile != nil, func(at *field.Path) errs {
			return texts(at, "secretName", v.AzureFile.SecretName, "shareName", v.AzureFile.ShareName)
		}},
		{"vsphereVolume", v.VsphereVolume != nil, func(at *field.Path) errs { return texts(at, "volumePath", v.VsphereVolume.VolumePath) }},
		{"photonPersistentDisk", v.PhotonPersistentDisk != nil, func(at *field.Path) errs { return texts(at, "pdID", v.PhotonPersistentDisk.PdID) }},
		{"portworxVolume", v.PortworxVolume != nil, func(at *field.Path) errs { return texts(at, "volumeID", v.PortworxVolume.VolumeID) }},
		{"azureDisk", v.AzureDisk != nil, func(at *field.Path) errs { return validateAzureDisk(v.AzureDisk, at) }},
		{"scaleIO", v.ScaleIO != nil, func(at *field.Path) errs {
			return texts(at, "gateway", v.ScaleIO.Gateway, "system", v.ScaleIO.System, "volumeName", v.ScaleIO.VolumeName)
		}},
		{"local", v.Local != nil, func(at *field.Path) errs { return texts(at, "path", v.Local.Path) }},
		{"storageos", v.StorageOS != nil, func(at *field.Path) errs {
			out := required(at.Child("volumeName"), v.StorageOS.VolumeName, validation.IsDNS1123Label)
			return append(out, optional(at.Child("volumeNamespace"), v.StorageOS.VolumeNamespace, validation.IsDNS1123Label)...)
		}},
		{"csi", v.CSI != nil, func(at *field.Path) errs { return validatePersistentCSI(v.CSI, at) }},
	}
}

func validatePersistentCSI(c *corev1.CSIPersistentVolumeSource, at *field.Path) errs {
	out := ValidateDriverName(c.Driver, at.Child("driver"))
	out = append(out, texts(at, "volumeHandle", c.VolumeHandle)...)
	for _, s := range []struct {
		name string
		ref  *corev1.SecretReference
	}{
		{"controllerPublishSecretRef", c.ControllerPublishSecretRef}, {"controllerExpandSecretRef", c.ControllerExpandSecretRef},
		{"nodePublishSecretRef", c.NodePublishSecretRef}, {"nodeExpandSecretRef", c.NodeExpandSecretRef},
	} {
		if s.ref != nil {
			out = append(out, required(at.Child(s.name, "name"), s.ref.Name, subdomain)...)
			out = append(out, required(at.Child(s.name, "namespace"), s.ref.Namespace, validation.IsDNS1123Label)...)
		}
	}
	return out
}

// secretElsewhere judges a reference to a secret of a namespace that it names.
func secretElsewhere(r *corev1.SecretReference, at *field.Path) errs {
	if r == nil {
		return nil
	}
	return texts(at, "name", r.Name, "namespace", r.Namespace)
}
