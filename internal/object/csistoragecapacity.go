package object

import (
	storagev1 "k8s.io/api/storage/v1"
)

func csiStorageCapacityKind() *Kind {
	return &Kind{
		Versions:      []Version{version[storagev1.CSIStorageCapacity, storagev1.CSIStorageCapacityList](storagev1.SchemeGroupVersion, "CSIStorageCapacity")},
		Resource:      "csistoragecapacities",
		Singular:      "csistoragecapacity",
		Scope:         Namespaced,
		StoragePrefix: "csistoragecapacities",
	}
}
