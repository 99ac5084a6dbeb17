package object

import (
	corev1 "k8s.io/api/core/v1"
)

func configMapKind() *Kind {
	return &Kind{
		Versions:      []Version{version[corev1.ConfigMap, corev1.ConfigMapList](corev1.SchemeGroupVersion, "ConfigMap")},
		Resource:      "configmaps",
		Singular:      "configmap",
		ShortNames:    []string{"cm"},
		Scope:         Namespaced,
		StoragePrefix: "configmaps",
	}
}
