package object

import (
	corev1 "k8s.io/api/core/v1"
)

func resourceQuotaKind() *Kind {
	return &Kind{
		Versions:      []Version{version[corev1.ResourceQuota, corev1.ResourceQuotaList](corev1.SchemeGroupVersion, "ResourceQuota")},
		Resource:      "resourcequotas",
		Singular:      "resourcequota",
		ShortNames:    []string{"quota"},
		Scope:         Namespaced,
		StoragePrefix: "resourcequotas",
		Subresources: []Subresource{
			writes("status", rules[*corev1.ResourceQuota]{}),
		},
	}
}
