package object

import (
	rbacv1 "k8s.io/api/rbac/v1"
)

func roleBindingKind() *Kind {
	return &Kind{
		Versions:      []Version{version[rbacv1.RoleBinding, rbacv1.RoleBindingList](rbacv1.SchemeGroupVersion, "RoleBinding")},
		Resource:      "rolebindings",
		Singular:      "rolebinding",
		Scope:         Namespaced,
		StoragePrefix: "rolebindings",
	}
}
