package podspec

import (
	"path"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// networkSources are the in-tree storage drivers. Most are gone from the nodes, but the API serves their fields.
func networkSources(v *corev1.VolumeSource) []namedSource {
	return []namedSource{
		{"nfs", v.NFS != nil, func(at *field.Path) errs { return ValidateNFS(v.NFS, at) }},
		{"iscsi", v.ISCSI != nil, func(at *field.Path) errs {
			return texts(at, "targetPortal", v.ISCSI.TargetPortal, "iqn", v.ISCSI.IQN)
		}},
		{"rbd", v.RBD != nil, func(at *field.Path) errs {
			var out errs
			if len(v.RBD.CephMonitors) == 0 {
				out = append(out, field.Required(at.Child("monitors"), ""))
			}
			return append(out, texts(at, "image", v.RBD.RBDImage)...)
		}},
		{"cephfs", v.CephFS != nil, func(at *field.Path) errs {
			if len(v.CephFS.Monitors) == 0 {
				return errs{field.Required(at.Child("monitors"), "")}
			}
			return nil
		}},
		{"glusterfs", v.Glusterfs != nil, func(at *field.Path) errs {
			return texts(at, "endpoints", v.Glusterfs.EndpointsName, "path", v.Glusterfs.Path)
		}},
		{"gcePersistentDisk", v.GCEPersistentDisk != nil, func(at *field.Path) errs {
			return texts(at, "pdName", v.GCEPersistentDisk.PDName)
		}},
		{"awsElasticBlockStore", v.AWSElasticBlockStore != nil, func(at *field.Path) errs {
			return texts(at, "volumeID", v.AWSElasticBlockStore.VolumeID)
		}},
		{"azureFile", v.AzureFile != nil, func(at *field.Path) errs {
			return texts(at, "secretName", v.AzureFile.SecretName, "shareName", v.AzureFile.ShareName)
		}},
		{"azureDisk", v.AzureDisk != nil, func(at *field.Path) errs {
			return texts(at, "diskName", v.AzureDisk.DiskName, "diskURI", v.AzureDisk.DataDiskURI)
		}},
		{"cinder", v.Cinder != nil, func(at *field.Path) errs { return texts(at, "volumeID", v.Cinder.VolumeID) }},
		{"fc", v.FC != nil, func(at *field.Path) errs {
			if len(v.FC.TargetWWNs) == 0 && len(v.FC.WWIDs) == 0 {
				return errs{field.Required(at.Child("targetWWNs"), "must specify either targetWWNs or wwids, but not both")}
			}
			return nil
		}},
		{"flexVolume", v.FlexVolume != nil, func(at *field.Path) errs { return texts(at, "driver", v.FlexVolume.Driver) }},
		{"flocker", v.Flocker != nil, nil},
		{"vsphereVolume", v.VsphereVolume != nil, func(at *field.Path) errs {
			return texts(at, "volumePath", v.VsphereVolume.VolumePath)
		}},
		{"quobyte", v.Quobyte != nil, func(at *field.Path) errs {
			return texts(at, "registry", v.Quobyte.Registry, "volume", v.Quobyte.Volume)
		}},
		{"photonPersistentDisk", v.PhotonPersistentDisk != nil, func(at *field.Path) errs {
			return texts(at, "pdID", v.PhotonPersistentDisk.PdID)
		}},
		{"portworxVolume", v.PortworxVolume != nil, func(at *field.Path) errs {
			return texts(at, "volumeID", v.PortworxVolume.VolumeID)
		}},
		{"scaleIO", v.ScaleIO != nil, func(at *field.Path) errs {
			return texts(at, "gateway", v.ScaleIO.Gateway, "system", v.ScaleIO.System, "volumeName", v.ScaleIO.VolumeName)
		}},
		{"storageos", v.StorageOS != nil, nil},
	}
}

// ValidateNFS judges an NFS export.
func ValidateNFS(v *corev1.NFSVolumeSource, at *field.Path) errs {
	out := texts(at, "server", v.Server, "path", v.Path)
	if v.Path != "" && !path.IsAbs(v.Path) {
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
