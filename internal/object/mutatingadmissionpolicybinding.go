package object

import (
	admissionregv1 "k8s.io/api/admissionregistration/v1"
)

func mutatingAdmissionPolicyBindingKind() *Kind {
	return &Kind{
		Versions:      []Version{version[admissionregv1.MutatingAdmissionPolicyBinding, admissionregv1.MutatingAdmissionPolicyBindingList](admissionregv1.SchemeGroupVersion, "MutatingAdmissionPolicyBinding")},
		Resource:      "mutatingadmissionpolicybindings",
		Singular:      "mutatingadmissionpolicybinding",
		Categories:    []string{"api-extensions"},
		Scope:         Cluster,
		StoragePrefix: "mutatingadmissionpolicybindings",
	}
}
