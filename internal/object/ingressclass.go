package object

import (
	networkingv1 "k8s.io/api/networking/v1"
)

func ingressClassKind() *Kind {
	return &Kind{
		Versions:      []Version{version[networkingv1.IngressClass, networkingv1.IngressClassList](networkingv1.SchemeGroupVersion, "IngressClass")},
		Resource:      "ingressclasses",
		Singular:      "ingressclass",
		Scope:         Cluster,
		StoragePrefix: "ingressclasses",
	}
}
