package podspec

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
)

// ValidateClaimSpec judges what a persistent volume claim asks for.
func ValidateClaimSpec(s *corev1.PersistentVolumeClaimSpec, at *field.Path) errs {
	out := ValidateAccessModes(s.AccessModes, at.Child("accessModes"), "at least 1 access mode is required")
	out = append(out, labelSelector(s.Selector, at.Child("selector"))...)
	p := at.Child("resources").Key("storage")
	if size, ok := s.Resources.Requests[corev1.ResourceStorage]; !ok {
		out = append(out, field.Required(p, ""))
	} else if size.Sign() <= 0 {
		out = append(out, field.Invalid(p, size.String(), "must be greater than zero"))
	}
	if c := s.StorageClassName; c != nil && *c != "" {
		out = append(out, invalid(at.Child("storageClassName"), *c, subdomain(*c))...)
	}
	if m := s.VolumeMode; m != nil {
		out = append(out, oneOf(at.Child("volumeMode"), *m, corev1.PersistentVolumeBlock, corev1.PersistentVolumeFilesystem)...)
	}
	if c := s.VolumeAttributesClassName; c != nil && *c != "" {
		out = append(out, invalid(at.Child("volumeAttributesClassName"), *c, subdomain(*c))...)
	}
	return append(out, validateDataSources(s, at)...)
}

// ValidateAccessModes judges how a volume may be mounted.
func ValidateAccessModes(modes []corev1.PersistentVolumeAccessMode, at *field.Path, missing string) errs {
	if len(modes) == 0 {
		return errs{field.Required(at, missing)}
	}
	var out errs
	once, others := false, false
	for _, m := range modes {
		out = append(out, oneOf(at, m, corev1.ReadOnlyMany, corev1.ReadWriteMany, corev1.ReadWriteOnce, corev1.ReadWriteOncePod)...)
		once = once || m == corev1.ReadWriteOncePod
		others = others || m != corev1.ReadWriteOncePod
	}
	if once && others {
		out = append(out, field.Forbidden(at, "may not use ReadWriteOncePod with other access modes"))
	}
	return out
}

func validateDataSources(s *corev1.PersistentVolumeClaimSpec, at *field.Path) errs {
	var out errs
	if d := s.DataSource; d != nil {
		out = append(out, validateDataSource(d.Name, d.Kind, d.APIGroup, at.Child("dataSource"))...)
	}
	if d := s.DataSourceRef; d != nil {
		p := at.Child("dataSourceRef")
		out = append(out, validateDataSource(d.Name, d.Kind, d.APIGroup, p)...)
		if ns := ptr.Deref(d.Namespace, ""); ns != "" {
			out = append(out, invalid(p.Child("namespace"), ns, validation.IsDNS1123Label(ns))...)
			if s.DataSource != nil {
				out = append(out, field.Invalid(at, struct{}{}, "may not be specified when dataSourceRef.namespace is specified"))
			}
		} else if o := s.DataSource; o != nil && (o.Name != d.Name || o.Kind != d.Kind || ptr.Deref(o.APIGroup, "") != ptr.Deref(d.APIGroup, "")) {
			out = append(out, field.Invalid(at, struct{}{}, "must match dataSourceRef"))
		}
	}
	return out
}

func validateDataSource(name, kind string, group *string, at *field.Path) errs {
	out := texts(at, "name", name, "kind", kind)
	g := ptr.Deref(group, "")
	if g == "" && kind != "PersistentVolumeClaim" {
		out = append(out, field.Invalid(at, kind, "must be 'PersistentVolumeClaim' when referencing the default apiGroup"))
	}
	if g != "" {
		out = append(out, invalid(at.Child("apiGroup"), g, validation.IsDNS1123Subdomain(g))...)
	}
	return out
}
