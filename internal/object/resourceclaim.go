package object

import (
	resourcev1 "k8s.io/api/resource/v1"
)

func resourceClaimKind() *Kind {
	return &Kind{
		Versions:      []Version{version[resourcev1.ResourceClaim, resourcev1.ResourceClaimList](resourcev1.SchemeGroupVersion, "ResourceClaim")},
		Resource:      "resourceclaims",
		Singular:      "resourceclaim",
		Scope:         Namespaced,
		StoragePrefix: "resourceclaims",
		Subresources: []Subresource{
			writes("status", rules[*resourcev1.ResourceClaim]{}),
		},
	}
}
