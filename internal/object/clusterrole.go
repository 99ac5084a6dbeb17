package object

import (
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func clusterRoleKind() *Kind {
	return &Kind{
		Versions:       []Version{version[rbacv1.ClusterRole, rbacv1.ClusterRoleList](rbacv1.SchemeGroupVersion, "ClusterRole")},
		Resource:       "clusterroles",
		Singular:       "clusterrole",
		Scope:          Cluster,
		StoragePrefix:  "clusterroles",
		CreateOnUpdate: true,
		Strategy: rules[*rbacv1.ClusterRole]{
			Validate: func(r *rbacv1.ClusterRole) field.ErrorList {
				return append(validateRules(r.Rules, false, field.NewPath("rules")), validateAggregation(r.AggregationRule)...)
			},
		}.full(Cluster, nameIsSegment),
	}
}
