package object

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func serviceAccountKind() *Kind {
	return &Kind{
		Versions:      []Version{version[corev1.ServiceAccount, corev1.ServiceAccountList](corev1.SchemeGroupVersion, "ServiceAccount")},
		Resource:      "serviceaccounts",
		Singular:      "serviceaccount",
		ShortNames:    []string{"sa"},
		Scope:         Namespaced,
		StoragePrefix: "serviceaccounts",
		Subresources: []Subresource{
			handled("token", schema.GroupVersionKind{Group: "authentication.k8s.io", Version: "v1", Kind: "TokenRequest"}, "create"),
		},
	}
}
