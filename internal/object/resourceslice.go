package object

import (
	resourcev1 "k8s.io/api/resource/v1"
)

func resourceSliceKind() *Kind {
	return &Kind{
		Versions:      []Version{version[resourcev1.ResourceSlice, resourcev1.ResourceSliceList](resourcev1.SchemeGroupVersion, "ResourceSlice")},
		Resource:      "resourceslices",
		Singular:      "resourceslice",
		Scope:         Cluster,
		StoragePrefix: "resourceslices",
	}
}
