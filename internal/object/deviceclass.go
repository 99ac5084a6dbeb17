package object

import (
	resourcev1 "k8s.io/api/resource/v1"
)

func deviceClassKind() *Kind {
	return &Kind{
		Versions:      []Version{version[resourcev1.DeviceClass, resourcev1.DeviceClassList](resourcev1.SchemeGroupVersion, "DeviceClass")},
		Resource:      "deviceclasses",
		Singular:      "deviceclass",
		Scope:         Cluster,
		StoragePrefix: "deviceclasses",
	}
}
