package object

import (
	corev1 "k8s.io/api/core/v1"
)

func endpointsKind() *Kind {
	return &Kind{
		Versions:      []Version{version[corev1.Endpoints, corev1.EndpointsList](corev1.SchemeGroupVersion, "Endpoints")},
		Resource:      "endpoints",
		Singular:      "endpoints",
		ShortNames:    []string{"ep"},
		Scope:         Namespaced,
		StoragePrefix: "services/endpoints",
	}
}
