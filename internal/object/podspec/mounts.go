package podspec

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
)

func validateMounts(c *corev1.Container, s *surroundings, at *field.Path) errs {
	var out errs
	devices, devicePaths := map[string]bool{}, map[string]bool{}
	for _, d := range c.VolumeDevices {
		devices[d.Name], devicePaths[d.DevicePath] = true, true
	}
	mountPaths := map[string]bool{}
	for i := range c.VolumeMounts {
		m, p := &c.VolumeMounts[i], at.Child("volumeMounts").Index(i)
		out = append(out, validateMount(m, c, s, p, at.Child("volumeMounts"))...)
		switch {
		case m.MountPath == "":
		case mountPaths[m.MountPath]:
			out = append(out, field.Invalid(p.Child("mountPath"), m.MountPath, "must be unique"))
		case devicePaths[m.MountPath]:
			out = append(out, field.Invalid(p.Child("mountPath"), m.MountPath, "must not already exist as a path in volumeDevices"))
		}
		if devices[m.Name] {
			out = append(out, field.Invalid(p.Child("name"), m.Name, "must not already exist in volumeDevices"))
		}
		mountPaths[m.MountPath] = true
	}
	names, paths := unique{}, unique{}
	for i, d := range c.VolumeDevices {
		p := at.Child("volumeDevices").Index(i)
		out = append(out, validateDevice(&d, s.volumes, p)...)
		if len(names.add(p, d.Name)) > 0 {
			out = append(out, field.Invalid(p.Child("name"), d.Name, "must be unique"))
		}
		for _, m := range c.VolumeMounts {
			if m.Name == d.Name {
				out = append(out, field.Invalid(p.Child("name"), d.Name, "must not already exist in volumeMounts"))
				break
			}
		}
		if d.DevicePath != "" && mountPaths[d.DevicePath] {
			out = append(out, field.Invalid(p.Child("devicePath"), d.DevicePath, "must not already exist as a path in volumeMounts"))
		}
		if d.DevicePath != "" && len(paths.add(p, d.DevicePath)) > 0 {
			out = append(out, field.Invalid(p.Child("devicePath"), d.DevicePath, "must be unique"))
		}
	}
	return out
}

// validateMount judges one mount. Clients know some of its errors as those of the list.
func validateMount(m *corev1.VolumeMount, c *corev1.Container, s *surroundings, at, list *field.Path) errs {
	var out errs
	if m.Name == "" {
		out = append(out, field.Required(at.Child("name"), ""))
	}
	if _, ok := s.volumes[m.Name]; !ok {
		out = append(out, field.NotFound(at.Child("name"), m.Name))
	}
	if m.MountPath == "" {
		out = append(out, field.Required(at.Child("mountPath"), ""))
	}
	if m.SubPath != "" {
		out = append(out, relativePath(list.Child("subPath"), m.SubPath)...)
	}
	if m.SubPathExpr != "" {
		if m.SubPath != "" {
			out = append(out, field.Invalid(at.Child("subPathExpr"), m.SubPathExpr, "subPathExpr and subPath are mutually exclusive"))
		}
		out = append(out, relativePath(list.Child("subPathExpr"), m.SubPathExpr)...)
	}
	if m.MountPropagation != nil {
		out = append(out, validatePropagation(*m.MountPropagation, c, list.Child("mountPropagation"))...)
	}
	return append(out, validateRecursiveReadOnly(m, list.Child("recursiveReadOnly"))...)
}

func validatePropagation(mode corev1.MountPropagationMode, c *corev1.Container, at *field.Path) errs {
	out := oneOf(at, mode, corev1.MountPropagationBidirectional, corev1.MountPropagationHostToContainer, corev1.MountPropagationNone)
	privileged := c.SecurityContext != nil && ptr.Deref(c.SecurityContext.Privileged, false)
	if mode == corev1.MountPropagationBidirectional && !privileged {
		out = append(out, field.Forbidden(at, "Bidirectional mount propagation is available only to privileged containers"))
	}
	return out
}

func validateRecursiveReadOnly(m *corev1.VolumeMount, at *field.Path) errs {
	if m.RecursiveReadOnly == nil {
		return nil
	}
	mode := *m.RecursiveReadOnly
	out := oneOf(at, mode, corev1.RecursiveReadOnlyDisabled, corev1.RecursiveReadOnlyEnabled, corev1.RecursiveReadOnlyIfPossible)
	if mode == corev1.RecursiveReadOnlyDisabled || len(out) > 0 {
		return out
	}
	if !m.ReadOnly {
		out = append(out, field.Forbidden(at, "may only be specified when readOnly is true"))
	}
	if ptr.Deref(m.MountPropagation, corev1.MountPropagationNone) != corev1.MountPropagationNone {
		out = append(out, field.Forbidden(at, "may only be specified when mountPropagation is None or not specified"))
	}
	return out
}

func validateDevice(d *corev1.VolumeDevice, known volumes, at *field.Path) errs {
	var out errs
	if d.Name == "" {
		out = append(out, field.Required(at.Child("name"), ""))
	}
	if v, ok := known[d.Name]; !ok {
		out = append(out, field.NotFound(at.Child("name"), d.Name))
	} else if v.PersistentVolumeClaim == nil && v.Ephemeral == nil {
		out = append(out, field.Invalid(at.Child("name"), d.Name, "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"))
	}
	if d.DevicePath == "" {
		return append(out, field.Required(at.Child("devicePath"), ""))
	}
	if len(noBacksteps(at, d.DevicePath)) > 0 {
		out = append(out, field.Invalid(at.Child("devicePath"), d.DevicePath, "can not contain backsteps ('..')"))
	}
	return out
}
