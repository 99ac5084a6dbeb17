package object

import (
	certificatesv1 "k8s.io/api/certificates/v1"
)

func podCertificateRequestKind() *Kind {
	return &Kind{
		Versions:      []Version{version[certificatesv1.PodCertificateRequest, certificatesv1.PodCertificateRequestList](certificatesv1.SchemeGroupVersion, "PodCertificateRequest")},
		Resource:      "podcertificaterequests",
		Singular:      "podcertificaterequest",
		Scope:         Namespaced,
		StoragePrefix: "podcertificaterequests",
		Subresources: []Subresource{
			writes("status", rules[*certificatesv1.PodCertificateRequest]{}),
		},
	}
}
