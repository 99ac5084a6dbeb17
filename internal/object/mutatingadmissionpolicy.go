package object

import (
	"strings"
	"time"

	admissionregv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func mutatingAdmissionPolicyKind() *Kind {
	type policy = admissionregv1.MutatingAdmissionPolicy
	return &Kind{
		Versions: []Version{version[policy, admissionregv1.MutatingAdmissionPolicyList](
			admissionregv1.SchemeGroupVersion, "MutatingAdmissionPolicy")},
		Resource:      "mutatingadmissionpolicies",
		Singular:      "mutatingadmissionpolicy",
		Categories:    []string{"api-extensions"},
		Scope:         Cluster,
		StoragePrefix: "mutatingadmissionpolicies",
		Strategy: rules[*policy]{
			Default: func(p *policy) {
				setDefaultPtr(&p.Spec.FailurePolicy, admissionregv1.Fail)
				defaultMatch(p.Spec.MatchConstraints)
			},
			PrepareCreate: func(p *policy) { firstGeneration(p) },
			PrepareUpdate: func(p, old *policy) { nextGeneration(p, old, p.Spec, old.Spec) },
			Validate:      func(p *policy) field.ErrorList { return validateMutatingPolicy(&p.Spec) },
		}.full(Cluster, nameIsSubdomain),
		Columns: []metav1.TableColumnDefinition{
			nameColumn(),
			column("Mutations", "integer", "Mutation indicates the number of mutations rules defined in this configuration"),
			column("ParamKind", "string", "ParamKind specifies the kind of resources used to parameterize this policy"),
			ageColumn(),
		},
		Cells: cells(func(p *policy, now time.Time) []any {
			return []any{p.Name, int64(len(p.Spec.Mutations)), paramKindText(p.Spec.ParamKind), age(p, now)}
		}),
	}
}

func validateMutatingPolicy(s *admissionregv1.MutatingAdmissionPolicySpec) field.ErrorList {
	errs := oneOf(specPath.Child("failurePolicy"), deref(s.FailurePolicy, ""), admissionregv1.Fail, admissionregv1.Ignore)
	errs = append(errs, validateParamKind(s.ParamKind, specPath.Child("paramKind"))...)
	errs = append(errs, validateConstraints(s.MatchConstraints, specPath.Child("matchConstraints"))...)
	errs = append(errs, changesSomething(s.MatchConstraints, specPath.Child("matchConstraints"))...)
	errs = append(errs, validateMatchConditions(s.MatchConditions, specPath.Child("matchConditions"))...)
	errs = append(errs, validateVariables(s.Variables, specPath.Child("variables"))...)
	if len(s.Mutations) == 0 {
		errs = append(errs, field.Required(specPath.Child("mutations"), "mutations must contain at least one item"))
	}
	for i := range s.Mutations {
		errs = append(errs, validateMutation(&s.Mutations[i], specPath.Child("mutations").Index(i))...)
	}
	return append(errs, requiredOneOf(specPath.Child("reinvocationPolicy"), s.ReinvocationPolicy,
		admissionregv1.IfNeededReinvocationPolicy, admissionregv1.NeverReinvocationPolicy)...)
}

// changesSomething: a mutation of what is deleted would come to nothing.
func changesSomething(m *admissionregv1.MatchResources, at *field.Path) field.ErrorList {
	if m == nil {
		return nil
	}
	var errs field.ErrorList
	for _, r := range m.ResourceRules {
		for _, op := range r.Operations {
			errs = append(errs, oneOf(at.Child("resourceRules", "operations"), op, admissionregv1.OperationAll, admissionregv1.Connect, admissionregv1.Create, admissionregv1.Update)...)
		}
	}
	return errs
}

func validateMutation(m *admissionregv1.Mutation, at *field.Path) field.ErrorList {
	errs := requiredOneOf(at.Child("patchType"), m.PatchType, admissionregv1.PatchTypeApplyConfiguration, admissionregv1.PatchTypeJSONPatch)
	known := len(errs) == 0
	needs := func(name string, wanted, given bool, expression string) {
		switch {
		case wanted && !given:
			errs = append(errs, field.Required(at.Child(name), "must be specified when patchType is "+string(m.PatchType)))
		case !wanted && given && known:
			errs = append(errs, field.Invalid(at.Child(name), "{"+name+"}", "must not be specified when patchType is "+string(m.PatchType)))
		case wanted && strings.TrimSpace(expression) == "":
			errs = append(errs, field.Required(at.Child(name, "expression"), ""))
		}
	}
	apply, patch := "", ""
	if m.ApplyConfiguration != nil {
		apply = m.ApplyConfiguration.Expression
	}
	if m.JSONPatch != nil {
		patch = m.JSONPatch.Expression
	}
	if m.PatchType == admissionregv1.PatchTypeJSONPatch {
		needs("jsonPatch", true, m.JSONPatch != nil, patch)
		needs("applyConfiguration", false, m.ApplyConfiguration != nil, apply)
		return errs
	}
	needs("applyConfiguration", m.PatchType == admissionregv1.PatchTypeApplyConfiguration, m.ApplyConfiguration != nil, apply)
	needs("jsonPatch", false, m.JSONPatch != nil, patch)
	return errs
}
