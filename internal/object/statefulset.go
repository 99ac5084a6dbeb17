package object

import (
	appsv1 "k8s.io/api/apps/v1"
)

func statefulSetKind() *Kind {
	return &Kind{
		Versions:      []Version{version[appsv1.StatefulSet, appsv1.StatefulSetList](appsv1.SchemeGroupVersion, "StatefulSet")},
		Resource:      "statefulsets",
		Singular:      "statefulset",
		ShortNames:    []string{"sts"},
		Categories:    []string{"all"},
		Scope:         Namespaced,
		StoragePrefix: "statefulsets",
		Subresources: []Subresource{
			scaleSubresource(),
			writes("status", rules[*appsv1.StatefulSet]{}),
		},
	}
}
