package object

import (
	corev1 "k8s.io/api/core/v1"
)

func persistentVolumeKind() *Kind {
	return &Kind{
		Versions:      []Version{version[corev1.PersistentVolume, corev1.PersistentVolumeList](corev1.SchemeGroupVersion, "PersistentVolume")},
		Resource:      "persistentvolumes",
		Singular:      "persistentvolume",
		ShortNames:    []string{"pv"},
		Scope:         Cluster,
		StoragePrefix: "persistentvolumes",
		Subresources: []Subresource{
			writes("status", rules[*corev1.PersistentVolume]{}),
		},
	}
}
