package object

import (
	admissionregv1 "k8s.io/api/admissionregistration/v1"
)

func validatingAdmissionPolicyBindingKind() *Kind {
	return &Kind{
		Versions:      []Version{version[admissionregv1.ValidatingAdmissionPolicyBinding, admissionregv1.ValidatingAdmissionPolicyBindingList](admissionregv1.SchemeGroupVersion, "ValidatingAdmissionPolicyBinding")},
		Resource:      "validatingadmissionpolicybindings",
		Singular:      "validatingadmissionpolicybinding",
		Categories:    []string{"api-extensions"},
		Scope:         Cluster,
		StoragePrefix: "validatingadmissionpolicybindings",
	}
}
