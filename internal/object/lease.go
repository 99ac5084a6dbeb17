package object

import (
	coordinationv1 "k8s.io/api/coordination/v1"
)

func leaseKind() *Kind {
	return &Kind{
		Versions:      []Version{version[coordinationv1.Lease, coordinationv1.LeaseList](coordinationv1.SchemeGroupVersion, "Lease")},
		Resource:      "leases",
		Singular:      "lease",
		Scope:         Namespaced,
		StoragePrefix: "leases",
	}
}
