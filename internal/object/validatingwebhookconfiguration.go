package object

import (
	admissionregv1 "k8s.io/api/admissionregistration/v1"
)

func validatingWebhookConfigurationKind() *Kind {
	return &Kind{
		Versions:      []Version{version[admissionregv1.ValidatingWebhookConfiguration, admissionregv1.ValidatingWebhookConfigurationList](admissionregv1.SchemeGroupVersion, "ValidatingWebhookConfiguration")},
		Resource:      "validatingwebhookconfigurations",
		Singular:      "validatingwebhookconfiguration",
		Categories:    []string{"api-extensions"},
		Scope:         Cluster,
		StoragePrefix: "validatingwebhookconfigurations",
	}
}
