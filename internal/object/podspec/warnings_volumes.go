package podspec

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func volumeWarnings(list []corev1.Volume, at *field.Path) []string {
	var out []string
	for i := range list {
		v, p := &list[i], at.Index(i)
		for _, d := range []struct {
			there      bool
			name, text string
		}{
			{v.GitRepo != nil, "gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"},
			{v.ScaleIO != nil, "scaleIO", "deprecated in v1.16, non-functional in v1.22+"},
			{v.StorageOS != nil, "storageOS", "deprecated in v1.22, non-functional in v1.25+"},
			{v.PhotonPersistentDisk != nil, "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"},
			{v.Flocker != nil, "flocker", "deprecated in v1.22, non-functional in v1.25+"},
			{v.Quobyte != nil, "quobyte", "deprecated in v1.22, non-functional in v1.25+"},
			{v.Glusterfs != nil, "glusterfs", "deprecated in v1.25, non-functional in v1.26+"},
			{v.RBD != nil, "rbd", "deprecated in v1.28, non-functional in v1.31+"},
			{v.CephFS != nil, "cephfs", "deprecated in v1.28, non-functional in v1.31+"},
		} {
			if d.there {
				out = append(out, p.Child(d.name).String()+": "+d.text)
			}
		}
		if e := v.Ephemeral; e != nil && e.VolumeClaimTemplate != nil {
			out = append(out, ClaimWarnings(&e.VolumeClaimTemplate.Spec, p.Child("ephemeral", "volumeClaimTemplate", "spec"))...)
		}
		out = append(out, fileWarnings(v)...)
	}
	return out
}

// file is a path in a volume and what it comes from.
type file struct{ path, from string }

// String quotes the path and tells the source, where there is more than one.
func (f file) String() string {
	if f.from == "" {
		return fmt.Sprintf("%q", f.path)
	}
	return fmt.Sprintf("%q (%s)", f.path, f.from)
}

// fileWarnings tells of files of a volume that are in each other's way.
func fileWarnings(v *corev1.Volume) []string {
	switch {
	case v.ConfigMap != nil:
		return overlaps(v.Name, fmt.Sprintf("ConfigMap %q", v.ConfigMap.Name), keyFiles(v.ConfigMap.Items, ""))
	case v.Secret != nil:
		return overlaps(v.Name, fmt.Sprintf("Secret %q", v.Secret.SecretName), keyFiles(v.Secret.Items, ""))
	case v.DownwardAPI != nil:
		return overlaps(v.Name, "DownwardAPI", downwardFiles(v.DownwardAPI.Items, ""))
	case v.Projected != nil:
		var out []string
		var files []file
		for i := range v.Projected.Sources {
			s := &v.Projected.Sources[i]
			if *s == (corev1.VolumeProjection{}) {
				out = append(out, fmt.Sprintf("volume %q (Projected) has no sources provided", v.Name))
			}
			files = append(files, projectedFiles(s)...)
		}
		return append(out, overlaps(v.Name, "Projected", files)...)
	}
	return nil
}

func projectedFiles(s *corev1.VolumeProjection) []file {
	switch {
	case s.ConfigMap != nil:
		return keyFiles(s.ConfigMap.Items, fmt.Sprintf("ConfigMap %q", s.ConfigMap.Name))
	case s.Secret != nil:
		return keyFiles(s.Secret.Items, fmt.Sprintf("Secret %q", s.Secret.Name))
	case s.DownwardAPI != nil:
		return downwardFiles(s.DownwardAPI.Items, "DownwardAPI")
	case s.ServiceAccountToken != nil:
		return []file{{s.ServiceAccountToken.Path, "ServiceAccountToken"}}
	case s.ClusterTrustBundle != nil:
		return []file{{s.ClusterTrustBundle.Path, "ClusterTrustBundle"}}
	case s.PodCertificate != nil:
		var out []file
		for _, path := range []string{s.PodCertificate.CredentialBundlePath, s.PodCertificate.KeyPath, s.PodCertificate.CertificateChainPath} {
			if path != "" {
				out = append(out, file{path, "PodCertificate"})
			}
		}
		return out
	}
	return nil
}

func keyFiles(items []corev1.KeyToPath, from string) []file {
	var out []file
	for _, i := range items {
		out = append(out, file{i.Path, from})
	}
	return out
}

func downwardFiles(items []corev1.DownwardAPIVolumeFile, from string) []file {
	var out []file
	for _, i := range items {
		out = append(out, file{i.Path, from})
	}
	return out
}

// overlaps tells of the first file before each that is the same, or of which one is a directory of the other.
func overlaps(volume, source string, files []file) []string {
	var out []string
	for i, f := range files {
		for _, o := range files[:i] {
			if f.path == o.path || strings.HasPrefix(f.path, o.path+"/") || strings.HasPrefix(o.path, f.path+"/") {
				out = append(out, fmt.Sprintf("volume %q (%s): overlapping paths: %s with %s", volume, source, f, o))
				break
			}
		}
	}
	return out
}
