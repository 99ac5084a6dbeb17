package object

import (
	corev1 "k8s.io/api/core/v1"
)

func replicationControllerKind() *Kind {
	return &Kind{
		Versions:      []Version{version[corev1.ReplicationController, corev1.ReplicationControllerList](corev1.SchemeGroupVersion, "ReplicationController")},
		Resource:      "replicationcontrollers",
		Singular:      "replicationcontroller",
		ShortNames:    []string{"rc"},
		Categories:    []string{"all"},
		Scope:         Namespaced,
		StoragePrefix: "controllers",
		Subresources: []Subresource{
			scaleSubresource(),
			writes("status", rules[*corev1.ReplicationController]{}),
		},
	}
}
