package object

import (
	rbacv1 "k8s.io/api/rbac/v1"
)

func clusterRoleBindingKind() *Kind {
	return &Kind{
		Versions:      []Version{version[rbacv1.ClusterRoleBinding, rbacv1.ClusterRoleBindingList](rbacv1.SchemeGroupVersion, "ClusterRoleBinding")},
		Resource:      "clusterrolebindings",
		Singular:      "clusterrolebinding",
		Scope:         Cluster,
		StoragePrefix: "clusterrolebindings",
	}
}
