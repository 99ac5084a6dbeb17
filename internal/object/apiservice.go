package object

import (
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
)

func apiServiceKind() *Kind {
	return &Kind{
		Versions:      []Version{version[apiregistrationv1.APIService, apiregistrationv1.APIServiceList](apiregistrationv1.SchemeGroupVersion, "APIService")},
		Resource:      "apiservices",
		Singular:      "apiservice",
		Categories:    []string{"api-extensions"},
		Scope:         Cluster,
		StoragePrefix: "apiregistration.k8s.io/apiservices",
		Subresources: []Subresource{
			writes("status", rules[*apiregistrationv1.APIService]{}),
		},
	}
}
