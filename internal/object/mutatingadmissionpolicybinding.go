package object

import (
	"time"

	admissionregv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func mutatingAdmissionPolicyBindingKind() *Kind {
	type binding = admissionregv1.MutatingAdmissionPolicyBinding
	return &Kind{
		Versions: []Version{version[binding, admissionregv1.MutatingAdmissionPolicyBindingList](
			admissionregv1.SchemeGroupVersion, "MutatingAdmissionPolicyBinding")},
		Resource:      "mutatingadmissionpolicybindings",
		Singular:      "mutatingadmissionpolicybinding",
		Categories:    []string{"api-extensions"},
		Scope:         Cluster,
		StoragePrefix: "mutatingadmissionpolicybindings",
		Strategy: rules[*binding]{
			Default:       func(b *binding) { defaultMatch(b.Spec.MatchResources) },
			PrepareCreate: func(b *binding) { firstGeneration(b) },
			PrepareUpdate: func(b, old *binding) { nextGeneration(b, old, b.Spec, old.Spec) },
			Validate: func(b *binding) field.ErrorList {
				return append(validateBinding(b.Spec.PolicyName, b.Spec.ParamRef, b.Spec.MatchResources),
					changesSomething(b.Spec.MatchResources, specPath.Child("matchResources"))...)
			},
		}.full(Cluster, nameIsSubdomain),
		Columns: policyBindingColumns(),
		Cells: cells(func(b *binding, now time.Time) []any {
			return []any{b.Name, b.Spec.PolicyName, paramRefText(b.Spec.ParamRef), age(b, now)}
		}),
	}
}
