package object

import (
	"time"

	storagev1 "k8s.io/api/storage/v1"
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
			Validate:      validateVolumeAttachment,
			ValidateUpdate: func(v, old *storagev1.VolumeAttachment) field.ErrorList {
				return immutable(v.Spec, old.Spec, specPath)
			},
		}.full(Cluster, nameIsSubdomain),
		Subresources: []Subresource{writes("status", rules[*storagev1.VolumeAttachment]{
			PrepareUpdate: func(v, old *storagev1.VolumeAttachment) { v.Spec = *old.Spec.DeepCopy() },
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
	errs := podspec.ValidateDriverName(v.Spec.Attacher, specPath.Child("attacher"))
	at := specPath.Child("source")
	name, inline := v.Spec.Source.PersistentVolumeName, v.Spec.Source.InlineVolumeSpec
	switch {
	case name == nil && inline == nil:
		errs = append(errs, field.Required(at, "must specify exactly one of inlineVolumeSpec and persistentVolumeName"))
	case name != nil && inline != nil:
		errs = append(errs, field.Forbidden(at, "must specify exactly one of inlineVolumeSpec and persistentVolumeName"))
	case name != nil && *name == "":
		errs = append(errs, field.Required(at.Child("persistentVolumeName"), "must specify non empty persistentVolumeName"))
	case name != nil:
		errs = append(errs, check(at.Child("persistentVolumeName"), *name, nameIsSubdomain(*name, false))...)
	}
	return append(errs, check(specPath.Child("nodeName"), v.Spec.NodeName, nameIsSubdomain(v.Spec.NodeName, false))...)
}
