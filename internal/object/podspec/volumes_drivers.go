package podspec

import (
	"net"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
)

// cephName is how clients know the field: in other words where another source goes before it.
func cephName(v *corev1.VolumeSource) string {
	other := *v
	other.CephFS = nil
	if other != (corev1.VolumeSource{}) {
		return "cephFS"
	}
	return "cephfs"
}

func namedSecret(r *corev1.LocalObjectReference, at *field.Path) errs {
	if r == nil {
		return nil
	}
	return required(at.Child("secretRef", "name"), r.Name, nil)
}

func lun(n int32, at *field.Path) errs {
	if n < 0 || n > 255 {
		return errs{field.Invalid(at.Child("lun"), n, validation.InclusiveRangeError(0, 255))}
	}
	return nil
}

// The names of iSCSI nodes (RFC 3720, RFC 3980).
var (
	iqnName = regexp.MustCompile(`^iqn\.\d{4}-\d{2}\.([[:alnum:]-.]+)(:[^,;*&$|\s]+)$`)
	euiName = regexp.MustCompile(`^eui\.[[:alnum:]]{16}$`)
	naaName = regexp.MustCompile(`^naa\.[[:alnum:]]{32}$`)
)

func iscsiName(name string, at *field.Path) errs {
	switch {
	case strings.HasPrefix(name, "iqn") && !iqnName.MatchString(name),
		strings.HasPrefix(name, "eui") && !euiName.MatchString(name),
		strings.HasPrefix(name, "naa") && !naaName.MatchString(name):
		return errs{field.Invalid(at, name, "must be valid format")}
	case !strings.HasPrefix(name, "iqn") && !strings.HasPrefix(name, "eui") && !strings.HasPrefix(name, "naa"):
		return errs{field.Invalid(at, name, "must be valid format starting with iqn, eui, or naa")}
	}
	return nil
}

func validateISCSI(v *corev1.ISCSIVolumeSource, name string, volume, at *field.Path) errs {
	out := texts(at, "targetPortal", v.TargetPortal)
	if v.IQN == "" {
		out = append(out, field.Required(at.Child("iqn"), ""))
	} else {
		out = append(out, iscsiName(v.IQN, at.Child("iqn"))...)
	}
	out = append(out, lun(v.Lun, at)...)
	if (v.DiscoveryCHAPAuth || v.SessionCHAPAuth) && v.SecretRef == nil {
		out = append(out, field.Required(at.Child("secretRef"), ""))
	}
	if v.InitiatorName != nil {
		out = append(out, iscsiName(*v.InitiatorName, at.Child("initiatorname"))...)
		if len(name+":"+v.TargetPortal) > 64 {
			out = append(out, field.Invalid(volume.Child("name"), name,
				"Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified."))
		}
	}
	return out
}

func validateFC(v *corev1.FCVolumeSource, at *field.Path) errs {
	switch {
	case len(v.TargetWWNs) == 0 && len(v.WWIDs) == 0:
		return errs{field.Required(at.Child("targetWWNs"), "must specify either targetWWNs or wwids, but not both")}
	case len(v.TargetWWNs) > 0 && len(v.WWIDs) > 0:
		return errs{field.Invalid(at.Child("targetWWNs"), v.TargetWWNs, "targetWWNs and wwids can not be specified simultaneously")}
	case len(v.TargetWWNs) > 0 && v.Lun == nil:
		return errs{field.Required(at.Child("lun"), "lun is required if targetWWNs is specified")}
	case len(v.TargetWWNs) > 0:
		return lun(*v.Lun, at)
	}
	return nil
}

func flexOptions(options map[string]string, at *field.Path) errs {
	var out errs
	for key := range options {
		domain := key
		if i := strings.Index(key, "/"); i >= 0 {
			domain = key[:i]
		}
		for _, reserved := range []string{"kubernetes.io", "k8s.io"} {
			if domain == reserved || strings.HasSuffix(domain, "."+reserved) {
				out = append(out, field.Invalid(at.Key(key), key, "kubernetes.io and k8s.io namespaces are reserved"))
			}
		}
	}
	return out
}

func validateFlocker(v *corev1.FlockerVolumeSource, at *field.Path) errs {
	switch {
	case v.DatasetName == "" && v.DatasetUUID == "":
		return errs{field.Required(at, "one of datasetName and datasetUUID is required")}
	case v.DatasetName != "" && v.DatasetUUID != "":
		return errs{field.Invalid(at, "resource", "datasetName and datasetUUID can not be specified simultaneously")}
	case strings.Contains(v.DatasetName, "/"):
		return errs{field.Invalid(at.Child("datasetName"), v.DatasetName, "must not contain '/'")}
	}
	return nil
}

const registryText = "must be a host:port pair or multiple pairs separated by commas"

func validateQuobyte(v *corev1.QuobyteVolumeSource, at *field.Path) errs {
	var out errs
	if v.Registry == "" {
		out = append(out, field.Required(at.Child("registry"), registryText))
	} else if len(v.Tenant) >= 65 {
		out = append(out, field.Required(at.Child("tenant"), "must be a UUID and may not exceed a length of 64 characters"))
	} else {
		for _, pair := range strings.Split(v.Registry, ",") {
			if _, _, err := net.SplitHostPort(pair); err != nil {
				out = append(out, field.Invalid(at.Child("registry"), v.Registry, registryText))
			}
		}
	}
	return append(out, texts(at, "volume", v.Volume)...)
}

func validateStorageOS(v *corev1.StorageOSVolumeSource, at *field.Path) errs {
	out := required(at.Child("volumeName"), v.VolumeName, validation.IsDNS1123Label)
	out = append(out, optional(at.Child("volumeNamespace"), v.VolumeNamespace, validation.IsDNS1123Label)...)
	return append(out, namedSecret(v.SecretRef, at)...)
}

func validateAzureDisk(v *corev1.AzureDiskVolumeSource, at *field.Path) errs {
	out := texts(at, "diskName", v.DiskName, "diskURI", v.DataDiskURI)
	const managed = "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}"
	const blob = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"
	caching := []corev1.AzureDataDiskCachingMode{corev1.AzureDataDiskCachingNone, corev1.AzureDataDiskCachingReadOnly, corev1.AzureDataDiskCachingReadWrite}
	if v.CachingMode != nil && !slices.Contains(caching, *v.CachingMode) {
		out = append(out, field.NotSupported(at.Child("cachingMode"), *v.CachingMode, caching))
	}
	kinds := []corev1.AzureDataDiskKind{corev1.AzureDedicatedBlobDisk, corev1.AzureManagedDisk, corev1.AzureSharedBlobDisk}
	kind := ptr.Deref(v.Kind, corev1.AzureSharedBlobDisk)
	if !slices.Contains(kinds, kind) {
		out = append(out, field.NotSupported(at.Child("kind"), kind, kinds))
	}
	if kind == corev1.AzureManagedDisk && !strings.HasPrefix(v.DataDiskURI, "/subscriptions/") {
		out = append(out, field.NotSupported(at.Child("diskURI"), v.DataDiskURI, []string{managed}))
	}
	if kind != corev1.AzureManagedDisk && !strings.HasPrefix(v.DataDiskURI, "https://") {
		out = append(out, field.NotSupported(at.Child("diskURI"), v.DataDiskURI, []string{blob}))
	}
	return out
}
