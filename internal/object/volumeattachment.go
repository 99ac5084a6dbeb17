package object

import (
	storagev1 "k8s.io/api/storage/v1"
)

func volumeAttachmentKind() *Kind {
	return &Kind{
		Versions:      []Version{version[storagev1.VolumeAttachment, storagev1.VolumeAttachmentList](storagev1.SchemeGroupVersion, "VolumeAttachment")},
		Resource:      "volumeattachments",
		Singular:      "volumeattachment",
		Scope:         Cluster,
		StoragePrefix: "volumeattachments",
		Subresources: []Subresource{
			writes("status", rules[*storagev1.VolumeAttachment]{}),
		},
	}
}
