package object

import (
	networkingv1 "k8s.io/api/networking/v1"
)

func ipAddressKind() *Kind {
	return &Kind{
		Versions:      []Version{version[networkingv1.IPAddress, networkingv1.IPAddressList](networkingv1.SchemeGroupVersion, "IPAddress")},
		Resource:      "ipaddresses",
		Singular:      "ipaddress",
		ShortNames:    []string{"ip"},
		Scope:         Cluster,
		StoragePrefix: "ipaddresses",
	}
}
