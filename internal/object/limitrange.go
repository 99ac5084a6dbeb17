package object

import (
	corev1 "k8s.io/api/core/v1"
)

func limitRangeKind() *Kind {
	return &Kind{
		Versions:      []Version{version[corev1.LimitRange, corev1.LimitRangeList](corev1.SchemeGroupVersion, "LimitRange")},
		Resource:      "limitranges",
		Singular:      "limitrange",
		ShortNames:    []string{"limits"},
		Scope:         Namespaced,
		StoragePrefix: "limitranges",
	}
}
