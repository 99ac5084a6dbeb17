package object

import (
	certificatesv1 "k8s.io/api/certificates/v1"
)

func clusterTrustBundleKind() *Kind {
	return &Kind{
		Versions:      []Version{version[certificatesv1.ClusterTrustBundle, certificatesv1.ClusterTrustBundleList](certificatesv1.SchemeGroupVersion, "ClusterTrustBundle")},
		Resource:      "clustertrustbundles",
		Singular:      "clustertrustbundle",
		Scope:         Cluster,
		StoragePrefix: "clustertrustbundles",
	}
}
