package object

import (
	rbacv1 "k8s.io/api/rbac/v1"
)

func roleKind() *Kind {
	return &Kind{
		Versions:      []Version{version[rbacv1.Role, rbacv1.RoleList](rbacv1.SchemeGroupVersion, "Role")},
		Resource:      "roles",
		Singular:      "role",
		Scope:         Namespaced,
		StoragePrefix: "roles",
	}
}
