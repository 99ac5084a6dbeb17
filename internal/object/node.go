package object

import (
	corev1 "k8s.io/api/core/v1"
)

func nodeKind() *Kind {
	return &Kind{
		Versions:      []Version{version[corev1.Node, corev1.NodeList](corev1.SchemeGroupVersion, "Node")},
		Resource:      "nodes",
		Singular:      "node",
		ShortNames:    []string{"no"},
		Scope:         Cluster,
		StoragePrefix: "minions",
		Subresources: []Subresource{
			handled("proxy", corev1.SchemeGroupVersion.WithKind("NodeProxyOptions"), "create", "delete", "get", "patch", "update"),
			writes("status", rules[*corev1.Node]{}),
		},
	}
}
