package object

import (
	networkingv1 "k8s.io/api/networking/v1"
)

func networkPolicyKind() *Kind {
	return &Kind{
		Versions:      []Version{version[networkingv1.NetworkPolicy, networkingv1.NetworkPolicyList](networkingv1.SchemeGroupVersion, "NetworkPolicy")},
		Resource:      "networkpolicies",
		Singular:      "networkpolicy",
		ShortNames:    []string{"netpol"},
		Scope:         Namespaced,
		StoragePrefix: "networkpolicies",
	}
}
