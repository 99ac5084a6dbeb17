package object

import (
	corev1 "k8s.io/api/core/v1"
)

func serviceKind() *Kind {
	return &Kind{
		Versions:      []Version{version[corev1.Service, corev1.ServiceList](corev1.SchemeGroupVersion, "Service")},
		Resource:      "services",
		Singular:      "service",
		ShortNames:    []string{"svc"},
		Categories:    []string{"all"},
		Scope:         Namespaced,
		StoragePrefix: "services/specs",
		Subresources: []Subresource{
			handled("proxy", corev1.SchemeGroupVersion.WithKind("ServiceProxyOptions"), "create", "delete", "get", "patch", "update"),
			writes("status", rules[*corev1.Service]{}),
		},
	}
}
