package object

import (
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func roleBindingKind() *Kind {
	return &Kind{
		Versions:       []Version{version[rbacv1.RoleBinding, rbacv1.RoleBindingList](rbacv1.SchemeGroupVersion, "RoleBinding")},
		Resource:       "rolebindings",
		Singular:       "rolebinding",
		Scope:          Namespaced,
		StoragePrefix:  "rolebindings",
		CreateOnUpdate: true,
		Strategy: rules[*rbacv1.RoleBinding]{
			Default: func(b *rbacv1.RoleBinding) {
				setDefault(&b.RoleRef.APIGroup, rbacv1.GroupName)
				defaultSubjects(b.Subjects)
			},
			Validate: func(b *rbacv1.RoleBinding) field.ErrorList {
				errs := validateRoleRef(b.RoleRef, "Role", "ClusterRole")
				return append(errs, validateSubjects(b.Subjects, true, field.NewPath("subjects"))...)
			},
			ValidateUpdate: func(b, old *rbacv1.RoleBinding) field.ErrorList { return immutableRoleRef(b.RoleRef, old.RoleRef) },
		}.full(Namespaced, nameIsSegment),
		Columns: bindingColumns("roleBinding", "reference a Role in the current namespace or a ClusterRole"),
		Cells: cells(func(b *rbacv1.RoleBinding, now time.Time) []any {
			return bindingCells(b, b.RoleRef, b.Subjects, now)
		}),
	}
}
