package object

import (
	storagev1 "k8s.io/api/storage/v1"
)

func storageClassKind() *Kind {
	return &Kind{
		Versions:      []Version{version[storagev1.StorageClass, storagev1.StorageClassList](storagev1.SchemeGroupVersion, "StorageClass")},
		Resource:      "storageclasses",
		Singular:      "storageclass",
		ShortNames:    []string{"sc"},
		Scope:         Cluster,
		StoragePrefix: "storageclasses",
	}
}
