package object

import (
	resourcev1 "k8s.io/api/resource/v1"
)

func resourceClaimTemplateKind() *Kind {
	return &Kind{
		Versions:      []Version{version[resourcev1.ResourceClaimTemplate, resourcev1.ResourceClaimTemplateList](resourcev1.SchemeGroupVersion, "ResourceClaimTemplate")},
		Resource:      "resourceclaimtemplates",
		Singular:      "resourceclaimtemplate",
		Scope:         Namespaced,
		StoragePrefix: "resourceclaimtemplates",
	}
}
