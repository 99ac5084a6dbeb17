package object

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/validate/content"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"hyperkube/internal/object/podspec"
)

func volumeAttachmentKind() *Kind {
	spec, source := doc(storagev1.VolumeAttachmentSpec{}.SwaggerDoc()), doc(storagev1.VolumeAttachmentSource{}.SwaggerDoc())
	return &Kind{
		Versions: []Version{version[storagev1.VolumeAttachment, storagev1.VolumeAttachmentList](
			storagev1.SchemeGroupVersion, "VolumeAttachment")},
		Resource:      "volumeattachments",
		Singular:      "volumeattachment",
		Scope:         Cluster,
		StoragePrefix: "volumeattachments",
		Strategy: rules[*storagev1.VolumeAttachment]{
			PrepareCreate: func(v *storagev1.VolumeAttachment) { v.Status = storagev1.VolumeAttachmentStatus{} },
			PrepareUpdate: func(v, old *storagev1.VolumeAttachment) { v.Status = *old.Status.DeepCopy() },
			Compare: func(v, old *storagev1.VolumeAttachment) field.ErrorList {
				at := specPath.Child("attacher")
				if old == nil {
					return append(validateVolumeAttachment(v), validateAttacher(v.Spec.Attacher, at)...)
				}
				errs := append(podspec.ValidateDriverName(v.Spec.Attacher, at), validateVolumeAttachment(v)...)
				return append(errs, unchanged(v.Spec, old.Spec, specPath)...)
			},
		}.full(Cluster, nameIsSubdomain),
		Subresources: []Subresource{writes("status", rules[*storagev1.VolumeAttachment]{
			PrepareUpdate: func(v, old *storagev1.VolumeAttachment) {
				v.Spec = *old.Spec.DeepCopy()
				metav1.ResetObjectMetaForStatus(v, old)
			},
			ValidateUpdate: func(v, _ *storagev1.VolumeAttachment) field.ErrorList {
				errs := validateVolumeError(v.Status.AttachError, statusPath.Child("attachError"))
				return append(errs, validateVolumeError(v.Status.DetachError, statusPath.Child("detachError"))...)
			},
		})},
		Columns: []metav1.TableColumnDefinition{
			nameColumn(),
			{Name: "Attacher", Type: "string", Format: "name", Description: spec["attacher"]},
			column("PV", "string", source["persistentVolumeName"]),
			column("Node", "string", spec["nodeName"]),
			column("Attached", "boolean", doc(storagev1.VolumeAttachmentStatus{}.SwaggerDoc())["attached"]),
			ageColumn(),
		},
		Cells: cells(func(v *storagev1.VolumeAttachment, now time.Time) []any {
			return []any{v.Name, v.Spec.Attacher, deref(v.Spec.Source.PersistentVolumeName, ""), v.Spec.NodeName, v.Status.Attached, age(v, now)}
		}),
	}
}

func validateVolumeAttachment(v *storagev1.VolumeAttachment) field.ErrorList {
	var errs field.ErrorList
	at := specPath.Child("source")
	name, inline := v.Spec.Source.PersistentVolumeName, v.Spec.Source.InlineVolumeSpec
	switch {
	case name == nil && inline == nil:
		errs = append(errs, field.Required(at, "must specify exactly one of inlineVolumeSpec and persistentVolumeName"))
	case name != nil && inline != nil:
		errs = append(errs, field.Forbidden(at, "must specify exactly one of inlineVolumeSpec and persistentVolumeName"))
	case inline != nil:
		errs = append(errs, validateInlineVolume(inline, at.Child("inlineVolumeSpec"))...)
	default:
		if *name == "" {
			errs = append(errs, field.Required(at.Child("persistentVolumeName"), "must specify non empty persistentVolumeName"))
		}
		errs = append(errs, check(at.Child("persistentVolumeName"), *name, nameIsSubdomain(*name, false))...)
	}
	return append(errs, check(specPath.Child("nodeName"), v.Spec.NodeName, nameIsSubdomain(v.Spec.NodeName, false))...)
}

// validateAttacher judges the name of the driver that attaches.
func validateAttacher(name string, at *field.Path) field.ErrorList {
	const longest = 63
	if name == "" {
		return field.ErrorList{field.Required(at, "")}
	}
	errs := check(at, name, content.IsDNS1123SubdomainCaseless(name))
	if len(name) > longest {
		errs = append(errs, field.TooLongCharacters(at, "", longest))
	}
	return errs
}

// validateInlineVolume judges the volume of a pod's own: no claim binds it, and a CSI driver attaches it.
func validateInlineVolume(s *corev1.PersistentVolumeSpec, at *field.Path) field.ErrorList {
	const why = "may not be specified in the context of inline volumes"
	var errs field.ErrorList
	for name, set := range inOrder(named("capacity", len(s.Capacity) > 0), named("claimRef", s.ClaimRef != nil),
		named("persistentVolumeReclaimPolicy", s.PersistentVolumeReclaimPolicy != ""), named("storageClassName", s.StorageClassName != "")) {
		if set {
			errs = append(errs, field.Forbidden(at.Child(name), why))
		}
	}
	if s.CSI == nil {
		errs = append(errs, field.Required(at.Child("csi"), "has to be specified in the context of inline volumes"))
	}
	if len(s.AccessModes) == 0 {
		errs = append(errs, field.Required(at.Child("accessModes"), ""))
	}
	if (s.PersistentVolumeSource == corev1.PersistentVolumeSource{}) {
		errs = append(errs, field.Required(at, "must specify a volume type"))
	}
	return errs
}

func validateVolumeError(e *storagev1.VolumeError, at *field.Path) field.ErrorList {
	if e == nil || e.ErrorCode == nil {
		return nil
	}
	if n := *e.ErrorCode; n < 0 {
		return field.ErrorList{field.Invalid(at.Child("errorCode"), n, "must be between 0 and 2147483647, inclusive")}
	}
	return nil
}
