package object

import (
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

func customResourceDefinitionKind() *Kind {
	return &Kind{
		Versions:      []Version{version[apiextensionsv1.CustomResourceDefinition, apiextensionsv1.CustomResourceDefinitionList](apiextensionsv1.SchemeGroupVersion, "CustomResourceDefinition")},
		Resource:      "customresourcedefinitions",
		Singular:      "customresourcedefinition",
		ShortNames:    []string{"crd", "crds"},
		Categories:    []string{"api-extensions"},
		Scope:         Cluster,
		StoragePrefix: "apiextensions.k8s.io/customresourcedefinitions",
		Subresources: []Subresource{
			writes("status", rules[*apiextensionsv1.CustomResourceDefinition]{}),
		},
	}
}
