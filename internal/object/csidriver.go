package object

import (
	storagev1 "k8s.io/api/storage/v1"
)

func csiDriverKind() *Kind {
	return &Kind{
		Versions:      []Version{version[storagev1.CSIDriver, storagev1.CSIDriverList](storagev1.SchemeGroupVersion, "CSIDriver")},
		Resource:      "csidrivers",
		Singular:      "csidriver",
		Scope:         Cluster,
		StoragePrefix: "csidrivers",
	}
}
