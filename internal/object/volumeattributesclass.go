package object

import (
	storagev1 "k8s.io/api/storage/v1"
)

func volumeAttributesClassKind() *Kind {
	return &Kind{
		Versions:      []Version{version[storagev1.VolumeAttributesClass, storagev1.VolumeAttributesClassList](storagev1.SchemeGroupVersion, "VolumeAttributesClass")},
		Resource:      "volumeattributesclasses",
		Singular:      "volumeattributesclass",
		ShortNames:    []string{"vac"},
		Scope:         Cluster,
		StoragePrefix: "volumeattributesclasses",
	}
}
