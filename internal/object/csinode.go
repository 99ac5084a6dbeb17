package object

import (
	storagev1 "k8s.io/api/storage/v1"
)

func csiNodeKind() *Kind {
	return &Kind{
		Versions:      []Version{version[storagev1.CSINode, storagev1.CSINodeList](storagev1.SchemeGroupVersion, "CSINode")},
		Resource:      "csinodes",
		Singular:      "csinode",
		Scope:         Cluster,
		StoragePrefix: "csinodes",
	}
}
