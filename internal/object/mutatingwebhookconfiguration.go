package object

import (
	admissionregv1 "k8s.io/api/admissionregistration/v1"
)

func mutatingWebhookConfigurationKind() *Kind {
	return &Kind{
		Versions:      []Version{version[admissionregv1.MutatingWebhookConfiguration, admissionregv1.MutatingWebhookConfigurationList](admissionregv1.SchemeGroupVersion, "MutatingWebhookConfiguration")},
		Resource:      "mutatingwebhookconfigurations",
		Singular:      "mutatingwebhookconfiguration",
		Categories:    []string{"api-extensions"},
		Scope:         Cluster,
		StoragePrefix: "mutatingwebhookconfigurations",
	}
}
