package object

import (
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func roleKind() *Kind {
	return &Kind{
		Versions:       []Version{version[rbacv1.Role, rbacv1.RoleList](rbacv1.SchemeGroupVersion, "Role")},
		Resource:       "roles",
		Singular:       "role",
		Scope:          Namespaced,
		StoragePrefix:  "roles",
		CreateOnUpdate: true,
		Strategy: rules[*rbacv1.Role]{
			Validate: func(r *rbacv1.Role) field.ErrorList { return validateRules(r.Rules, true, field.NewPath("rules")) },
		}.full(Namespaced, nameIsSegment),
	}
}
