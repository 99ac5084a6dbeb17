package object

import (
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func clusterRoleBindingKind() *Kind {
	return &Kind{
		Versions: []Version{version[rbacv1.ClusterRoleBinding, rbacv1.ClusterRoleBindingList](
			rbacv1.SchemeGroupVersion, "ClusterRoleBinding")},
		Resource:       "clusterrolebindings",
		Singular:       "clusterrolebinding",
		Scope:          Cluster,
		StoragePrefix:  "clusterrolebindings",
		CreateOnUpdate: true,
		Strategy: rules[*rbacv1.ClusterRoleBinding]{
			Default: func(b *rbacv1.ClusterRoleBinding) {
				setDefault(&b.RoleRef.APIGroup, rbacv1.GroupName)
				defaultSubjects(b.Subjects)
			},
			Validate: func(b *rbacv1.ClusterRoleBinding) field.ErrorList {
				errs := validateRoleRef(b.RoleRef, "ClusterRole")
				return append(errs, validateSubjects(b.Subjects, false, field.NewPath("subjects"))...)
			},
			ValidateUpdate: func(b, old *rbacv1.ClusterRoleBinding) field.ErrorList {
				return immutableRoleRef(b.RoleRef, old.RoleRef)
			},
		}.full(Cluster, nameIsSegment),
		Columns: bindingColumns("clusterRoleBinding", "only reference a ClusterRole"),
		Cells: cells(func(b *rbacv1.ClusterRoleBinding, now time.Time) []any {
			return bindingCells(b, b.RoleRef, b.Subjects, now)
		}),
	}
}
