package object

import (
	appsv1 "k8s.io/api/apps/v1"
)

func replicaSetKind() *Kind {
	return &Kind{
		Versions:      []Version{version[appsv1.ReplicaSet, appsv1.ReplicaSetList](appsv1.SchemeGroupVersion, "ReplicaSet")},
		Resource:      "replicasets",
		Singular:      "replicaset",
		ShortNames:    []string{"rs"},
		Categories:    []string{"all"},
		Scope:         Namespaced,
		StoragePrefix: "replicasets",
		Subresources: []Subresource{
			scaleSubresource(),
			writes("status", rules[*appsv1.ReplicaSet]{}),
		},
	}
}
