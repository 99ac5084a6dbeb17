package object

import (
	nodev1 "k8s.io/api/node/v1"
)

func runtimeClassKind() *Kind {
	return &Kind{
		Versions:      []Version{version[nodev1.RuntimeClass, nodev1.RuntimeClassList](nodev1.SchemeGroupVersion, "RuntimeClass")},
		Resource:      "runtimeclasses",
		Singular:      "runtimeclass",
		Scope:         Cluster,
		StoragePrefix: "runtimeclasses",
	}
}
