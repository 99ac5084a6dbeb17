package object

import (
	appsv1 "k8s.io/api/apps/v1"
)

func daemonSetKind() *Kind {
	return &Kind{
		Versions:      []Version{version[appsv1.DaemonSet, appsv1.DaemonSetList](appsv1.SchemeGroupVersion, "DaemonSet")},
		Resource:      "daemonsets",
		Singular:      "daemonset",
		ShortNames:    []string{"ds"},
		Categories:    []string{"all"},
		Scope:         Namespaced,
		StoragePrefix: "daemonsets",
		Subresources: []Subresource{
			writes("status", rules[*appsv1.DaemonSet]{}),
		},
	}
}
