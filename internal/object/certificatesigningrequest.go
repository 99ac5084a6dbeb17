package object

import (
	certificatesv1 "k8s.io/api/certificates/v1"
)

func certificateSigningRequestKind() *Kind {
	return &Kind{
		Versions:      []Version{version[certificatesv1.CertificateSigningRequest, certificatesv1.CertificateSigningRequestList](certificatesv1.SchemeGroupVersion, "CertificateSigningRequest")},
		Resource:      "certificatesigningrequests",
		Singular:      "certificatesigningrequest",
		ShortNames:    []string{"csr"},
		Scope:         Cluster,
		StoragePrefix: "certificatesigningrequests",
		Subresources: []Subresource{
			writes("approval", rules[*certificatesv1.CertificateSigningRequest]{}),
			writes("status", rules[*certificatesv1.CertificateSigningRequest]{}),
		},
	}
}
