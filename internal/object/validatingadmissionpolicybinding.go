package object

import (
	"slices"
	"time"

	admissionregv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func validatingAdmissionPolicyBindingKind() *Kind {
	type binding = admissionregv1.ValidatingAdmissionPolicyBinding
	return &Kind{
		Versions: []Version{version[binding, admissionregv1.ValidatingAdmissionPolicyBindingList](
			admissionregv1.SchemeGroupVersion, "ValidatingAdmissionPolicyBinding")},
		Resource:      "validatingadmissionpolicybindings",
		Singular:      "validatingadmissionpolicybinding",
		Categories:    []string{"api-extensions"},
		Scope:         Cluster,
		StoragePrefix: "validatingadmissionpolicybindings",
		Strategy: rules[*binding]{
			Default:       func(b *binding) { defaultMatch(b.Spec.MatchResources) },
			PrepareCreate: func(b *binding) { firstGeneration(b) },
			PrepareUpdate: func(b, old *binding) { nextGeneration(b, old, b.Spec, old.Spec) },
			Validate: func(b *binding) field.ErrorList {
				errs := validateBinding(b.Spec.PolicyName, b.Spec.ParamRef, b.Spec.MatchResources)
				return append(errs, validateActions(b.Spec.ValidationActions, specPath.Child("validationActions"))...)
			},
		}.full(Cluster, nameIsSubdomain),
		Columns: policyBindingColumns(),
		Cells: cells(func(b *binding, now time.Time) []any {
			return []any{b.Name, b.Spec.PolicyName, paramRefText(b.Spec.ParamRef), age(b, now)}
		}),
	}
}

func policyBindingColumns() []metav1.TableColumnDefinition {
	return []metav1.TableColumnDefinition{
		nameColumn(),
		column("PolicyName", "string", "PolicyName indicates the policy definition which the policy binding binded to"),
		column("ParamRef", "string", "ParamRef indicates the param resource which sets the configuration param"),
		ageColumn(),
	}
}

func validateBinding(policy string, ref *admissionregv1.ParamRef, match *admissionregv1.MatchResources) field.ErrorList {
	var errs field.ErrorList
	if policy == "" {
		errs = append(errs, field.Required(specPath.Child("policyName"), ""))
	} else {
		errs = append(errs, check(specPath.Child("policyName"), policy, nameIsSubdomain(policy, false))...)
	}
	errs = append(errs, validateParamRef(ref, specPath.Child("paramRef"))...)
	if match != nil {
		errs = append(errs, validateMatch(match, specPath.Child("matchResources"))...)
	}
	return errs
}

func validateActions(list []admissionregv1.ValidationAction, at *field.Path) field.ErrorList {
	if len(list) == 0 {
		return field.ErrorList{field.Required(at, "")}
	}
	var errs field.ErrorList
	for i, a := range list {
		errs = append(errs, oneOf(at.Index(i), a, admissionregv1.Audit, admissionregv1.Deny, admissionregv1.Warn)...)
		if slices.Contains(list[:i], a) {
			errs = append(errs, field.Duplicate(at.Index(i), a))
		}
	}
	if slices.Contains(list, admissionregv1.Deny) && slices.Contains(list, admissionregv1.Warn) {
		errs = append(errs, field.Invalid(at, list, "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)"))
	}
	return errs
}
