package object

import (
	policyv1 "k8s.io/api/policy/v1"
)

func podDisruptionBudgetKind() *Kind {
	return &Kind{
		Versions:      []Version{version[policyv1.PodDisruptionBudget, policyv1.PodDisruptionBudgetList](policyv1.SchemeGroupVersion, "PodDisruptionBudget")},
		Resource:      "poddisruptionbudgets",
		Singular:      "poddisruptionbudget",
		ShortNames:    []string{"pdb"},
		Scope:         Namespaced,
		StoragePrefix: "poddisruptionbudgets",
		Subresources: []Subresource{
			writes("status", rules[*policyv1.PodDisruptionBudget]{}),
		},
	}
}
