package object

import (
	admissionregv1 "k8s.io/api/admissionregistration/v1"
)

func mutatingAdmissionPolicyKind() *Kind {
	return &Kind{
		Versions:      []Version{version[admissionregv1.MutatingAdmissionPolicy, admissionregv1.MutatingAdmissionPolicyList](admissionregv1.SchemeGroupVersion, "MutatingAdmissionPolicy")},
		Resource:      "mutatingadmissionpolicies",
		Singular:      "mutatingadmissionpolicy",
		Categories:    []string{"api-extensions"},
		Scope:         Cluster,
		StoragePrefix: "mutatingadmissionpolicies",
	}
}
