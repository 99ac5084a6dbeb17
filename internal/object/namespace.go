package object

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func namespaceKind() *Kind {
	return &Kind{
		Versions:      []Version{version[corev1.Namespace, corev1.NamespaceList](corev1.SchemeGroupVersion, "Namespace")},
		Resource:      "namespaces",
		Singular:      "namespace",
		ShortNames:    []string{"ns"},
		Scope:         Cluster,
		StoragePrefix: "namespaces",
		Verbs:         []string{"create", "delete", "get", "list", "patch", "update", "watch"},
		Subresources: []Subresource{
			handled("finalize", schema.GroupVersionKind{}, "update"),
			writes("status", rules[*corev1.Namespace]{}),
		},
	}
}
