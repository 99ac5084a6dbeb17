package object

import (
	appsv1 "k8s.io/api/apps/v1"
)

func deploymentKind() *Kind {
	return &Kind{
		Versions:      []Version{version[appsv1.Deployment, appsv1.DeploymentList](appsv1.SchemeGroupVersion, "Deployment")},
		Resource:      "deployments",
		Singular:      "deployment",
		ShortNames:    []string{"deploy"},
		Categories:    []string{"all"},
		Scope:         Namespaced,
		StoragePrefix: "deployments",
		Subresources: []Subresource{
			scaleSubresource(),
			writes("status", rules[*appsv1.Deployment]{}),
		},
	}
}
