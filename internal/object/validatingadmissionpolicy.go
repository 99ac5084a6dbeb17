package object

import (
	admissionregv1 "k8s.io/api/admissionregistration/v1"
)

func validatingAdmissionPolicyKind() *Kind {
	return &Kind{
		Versions:      []Version{version[admissionregv1.ValidatingAdmissionPolicy, admissionregv1.ValidatingAdmissionPolicyList](admissionregv1.SchemeGroupVersion, "ValidatingAdmissionPolicy")},
		Resource:      "validatingadmissionpolicies",
		Singular:      "validatingadmissionpolicy",
		Categories:    []string{"api-extensions"},
		Scope:         Cluster,
		StoragePrefix: "validatingadmissionpolicies",
		Subresources: []Subresource{
			writes("status", rules[*admissionregv1.ValidatingAdmissionPolicy]{}),
		},
	}
}
