package object

import (
	networkingv1 "k8s.io/api/networking/v1"
)

func ingressKind() *Kind {
	return &Kind{
		Versions:      []Version{version[networkingv1.Ingress, networkingv1.IngressList](networkingv1.SchemeGroupVersion, "Ingress")},
		Resource:      "ingresses",
		Singular:      "ingress",
		ShortNames:    []string{"ing"},
		Scope:         Namespaced,
		StoragePrefix: "ingress",
		Subresources: []Subresource{
			writes("status", rules[*networkingv1.Ingress]{}),
		},
	}
}
