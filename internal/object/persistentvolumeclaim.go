package object

import (
	corev1 "k8s.io/api/core/v1"
)

func persistentVolumeClaimKind() *Kind {
	return &Kind{
		Versions:      []Version{version[corev1.PersistentVolumeClaim, corev1.PersistentVolumeClaimList](corev1.SchemeGroupVersion, "PersistentVolumeClaim")},
		Resource:      "persistentvolumeclaims",
		Singular:      "persistentvolumeclaim",
		ShortNames:    []string{"pvc"},
		Scope:         Namespaced,
		StoragePrefix: "persistentvolumeclaims",
		Subresources: []Subresource{
			writes("status", rules[*corev1.PersistentVolumeClaim]{}),
		},
	}
}
