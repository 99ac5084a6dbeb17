package object

import (
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func csiStorageCapacityKind() *Kind {
	return &Kind{
		Versions: []Version{version[storagev1.CSIStorageCapacity, storagev1.CSIStorageCapacityList](
			storagev1.SchemeGroupVersion, "CSIStorageCapacity")},
		Resource:      "csistoragecapacities",
		Singular:      "csistoragecapacity",
		Scope:         Namespaced,
		StoragePrefix: "csistoragecapacities",
		Strategy: rules[*storagev1.CSIStorageCapacity]{
			Validate: func(c *storagev1.CSIStorageCapacity) field.ErrorList {
				errs := validateLabelSelector(c.NodeTopology, field.NewPath("nodeTopology"))
				errs = append(errs, check(field.NewPath("storageClassName"), c.StorageClassName, nameIsSubdomain(c.StorageClassName, false))...)
				if q := c.Capacity; q != nil && q.Sign() < 0 {
					errs = append(errs, field.Invalid(field.NewPath("capacity"), q.String(), "must be greater than or equal to 0"))
				}
				return errs
			},
			ValidateUpdate: func(c, old *storagev1.CSIStorageCapacity) field.ErrorList {
				errs := immutable(c.NodeTopology, old.NodeTopology, field.NewPath("nodeTopology"))
				return append(errs, immutable(c.StorageClassName, old.StorageClassName, field.NewPath("storageClassName"))...)
			},
		}.full(Namespaced, nameIsSubdomain),
	}
}
