package object

import (
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func podKind() *Kind {
	core := corev1.SchemeGroupVersion
	return &Kind{
		Versions:      []Version{version[corev1.Pod, corev1.PodList](core, "Pod")},
		Resource:      "pods",
		Singular:      "pod",
		ShortNames:    []string{"po"},
		Categories:    []string{"all"},
		Scope:         Namespaced,
		StoragePrefix: "pods",
		Subresources: []Subresource{
			handled("attach", core.WithKind("PodAttachOptions"), "create", "get"),
			handled("binding", core.WithKind("Binding"), "create"),
			writes("ephemeralcontainers", rules[*corev1.Pod]{}),
			handled("eviction", policyv1.SchemeGroupVersion.WithKind("Eviction"), "create"),
			handled("exec", core.WithKind("PodExecOptions"), "create", "get"),
			handled("log", schema.GroupVersionKind{}, "get"),
			handled("portforward", core.WithKind("PodPortForwardOptions"), "create", "get"),
			handled("proxy", core.WithKind("PodProxyOptions"), "create", "delete", "get", "patch", "update"),
			writes("resize", rules[*corev1.Pod]{}),
			writes("status", rules[*corev1.Pod]{}),
		},
	}
}
