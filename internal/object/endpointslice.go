package object

import (
	discoveryv1 "k8s.io/api/discovery/v1"
)

func endpointSliceKind() *Kind {
	return &Kind{
		Versions:      []Version{version[discoveryv1.EndpointSlice, discoveryv1.EndpointSliceList](discoveryv1.SchemeGroupVersion, "EndpointSlice")},
		Resource:      "endpointslices",
		Singular:      "endpointslice",
		Scope:         Namespaced,
		StoragePrefix: "endpointslices",
	}
}
