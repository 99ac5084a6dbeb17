package object

import (
	corev1 "k8s.io/api/core/v1"
)

func secretKind() *Kind {
	return &Kind{
		Versions:      []Version{version[corev1.Secret, corev1.SecretList](corev1.SchemeGroupVersion, "Secret")},
		Resource:      "secrets",
		Singular:      "secret",
		Scope:         Namespaced,
		StoragePrefix: "secrets",
	}
}
