package object

import (
	corev1 "k8s.io/api/core/v1"
)

func podTemplateKind() *Kind {
	return &Kind{
		Versions:      []Version{version[corev1.PodTemplate, corev1.PodTemplateList](corev1.SchemeGroupVersion, "PodTemplate")},
		Resource:      "podtemplates",
		Singular:      "podtemplate",
		Scope:         Namespaced,
		StoragePrefix: "podtemplates",
	}
}
