package podspec

import (
	"path"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// networkSources are the in-tree storage drivers. Most are gone from the nodes, but the API serves their fields.
func networkSources(v *corev1.VolumeSource, name string, volume *field.Path) []namedSource {
	return []namedSource{
		{"nfs", v.NFS != nil, func(at *field.Path) errs { return ValidateNFS(v.NFS, at) }},
		{"iscsi", v.ISCSI != nil, func(at *field.Path) errs { return validateISCSI(v.ISCSI, name, volume, at) }},
		{"rbd", v.RBD != nil, func(at *field.Path) errs {
			var out errs
			if len(v.RBD.CephMonitors) == 0 {
				out = append(out, field.Required(at.Child("monitors"), ""))
			}
			return append(out, texts(at, "image", v.RBD.RBDImage)...)
		}},
		{cephName(v), v.CephFS != nil, func(at *field.Path) errs {
			if len(v.CephFS.Monitors) == 0 {
				return errs{field.Required(at.Child("monitors"), "")}
			}
			return nil
		}},
		{"glusterfs", v.Glusterfs != nil, func(at *field.Path) errs {
			return texts(at, "endpoints", v.Glusterfs.EndpointsName, "path", v.Glusterfs.Path)
		}},
		{"azureFile", v.AzureFile != nil, func(at *field.Path) errs {
			return texts(at, "secretName", v.AzureFile.SecretName, "shareName", v.AzureFile.ShareName)
		}},
		{"azureDisk", v.AzureDisk != nil, func(at *field.Path) errs { return validateAzureDisk(v.AzureDisk, at) }},
		{"cinder", v.Cinder != nil, func(at *field.Path) errs {
			return append(texts(at, "volumeID", v.Cinder.VolumeID), namedSecret(v.Cinder.SecretRef, at)...)
		}},
		{"fc", v.FC != nil, func(at *field.Path) errs { return validateFC(v.FC, at) }},
		{"flexVolume", v.FlexVolume != nil, func(at *field.Path) errs {
			return append(texts(at, "driver", v.FlexVolume.Driver), flexOptions(v.FlexVolume.Options, at.Child("options"))...)
		}},
		{"flocker", v.Flocker != nil, func(at *field.Path) errs { return validateFlocker(v.Flocker, at) }},
		{"vsphereVolume", v.VsphereVolume != nil, func(at *field.Path) errs {
			return texts(at, "volumePath", v.VsphereVolume.VolumePath)
		}},
		{"quobyte", v.Quobyte != nil, func(at *field.Path) errs { return validateQuobyte(v.Quobyte, at) }},
		{"photonPersistentDisk", v.PhotonPersistentDisk != nil, func(at *field.Path) errs {
			return texts(at, "pdID", v.PhotonPersistentDisk.PdID)
		}},
		{"portworxVolume", v.PortworxVolume != nil, func(at *field.Path) errs {
			return texts(at, "volumeID", v.PortworxVolume.VolumeID)
		}},
		{"scaleIO", v.ScaleIO != nil, func(at *field.Path) errs {
			return texts(at, "gateway", v.ScaleIO.Gateway, "system", v.ScaleIO.System, "volumeName", v.ScaleIO.VolumeName)
		}},
		{"storageos", v.StorageOS != nil, func(at *field.Path) errs { return validateStorageOS(v.StorageOS, at) }},
	}
}

// ValidateNFS judges an NFS export.
func ValidateNFS(v *corev1.NFSVolumeSource, at *field.Path) errs {
	out := texts(at, "server", v.Server, "path", v.Path)
	if !path.IsAbs(v.Path) {
		out = append(out, field.Invalid(at.Child("path"), v.Path, "must be an absolute path"))
	}
	return out
}

// texts wants fields, given as name and value in turn, not to be empty.
func texts(at *field.Path, namesAndValues ...string) errs {
	var out errs
	for i := 0; i+1 < len(namesAndValues); i += 2 {
		if strings.TrimSpace(namesAndValues[i+1]) == "" {
			out = append(out, field.Required(at.Child(namesAndValues[i]), ""))
		}
	}
	return out
}
