package object

import (
	networkingv1 "k8s.io/api/networking/v1"
)

func serviceCIDRKind() *Kind {
	return &Kind{
		Versions:      []Version{version[networkingv1.ServiceCIDR, networkingv1.ServiceCIDRList](networkingv1.SchemeGroupVersion, "ServiceCIDR")},
		Resource:      "servicecidrs",
		Singular:      "servicecidr",
		Scope:         Cluster,
		StoragePrefix: "servicecidrs",
		Subresources: []Subresource{
			writes("status", rules[*networkingv1.ServiceCIDR]{}),
		},
	}
}
