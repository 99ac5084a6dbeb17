package object

import (
	rbacv1 "k8s.io/api/rbac/v1"
)

func clusterRoleKind() *Kind {
	return &Kind{
		Versions:      []Version{version[rbacv1.ClusterRole, rbacv1.ClusterRoleList](rbacv1.SchemeGroupVersion, "ClusterRole")},
		Resource:      "clusterroles",
		Singular:      "clusterrole",
		Scope:         Cluster,
		StoragePrefix: "clusterroles",
	}
}
