package object

import (
	"strings"
	"time"

	admissionregv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func validatingAdmissionPolicyKind() *Kind {
	type policy = admissionregv1.ValidatingAdmissionPolicy
	return &Kind{
		Versions: []Version{version[policy, admissionregv1.ValidatingAdmissionPolicyList](
			admissionregv1.SchemeGroupVersion, "ValidatingAdmissionPolicy")},
		Resource:      "validatingadmissionpolicies",
		Singular:      "validatingadmissionpolicy",
		Categories:    []string{"api-extensions"},
		Scope:         Cluster,
		StoragePrefix: "validatingadmissionpolicies",
		Strategy: rules[*policy]{
			Default: func(p *policy) {
				setDefaultPtr(&p.Spec.FailurePolicy, admissionregv1.Fail)
				defaultMatch(p.Spec.MatchConstraints)
			},
			PrepareCreate: func(p *policy) {
				p.Status = admissionregv1.ValidatingAdmissionPolicyStatus{}
				firstGeneration(p)
			},
			PrepareUpdate: func(p, old *policy) {
				p.Status = *old.Status.DeepCopy()
				nextGeneration(p, old, p.Spec, old.Spec)
			},
			Validate: func(p *policy) field.ErrorList { return validateValidatingPolicy(p.Name, &p.Spec) },
		}.full(Cluster, nameIsSubdomain),
		Subresources: []Subresource{writes("status", rules[*policy]{
			PrepareUpdate: func(p, old *policy) {
				p.Spec = *old.Spec.DeepCopy()
				metav1.ResetObjectMetaForStatus(p, old)
			},
			ValidateUpdate: func(p, _ *policy) field.ErrorList {
				return metavalidation.ValidateConditions(p.Status.Conditions, statusPath.Child("conditions"))
			},
		})},
		Columns: []metav1.TableColumnDefinition{
			nameColumn(),
			column("Validations", "integer", "Validations indicates the number of validation rules defined in this configuration"),
			column("ParamKind", "string", "ParamKind specifies the kind of resources used to parameterize this policy"),
			ageColumn(),
		},
		Cells: cells(func(p *policy, now time.Time) []any {
			return []any{p.Name, int64(len(p.Spec.Validations)), paramKindText(p.Spec.ParamKind), age(p, now)}
		}),
	}
}

func validateValidatingPolicy(name string, s *admissionregv1.ValidatingAdmissionPolicySpec) field.ErrorList {
	errs := oneOf(specPath.Child("failurePolicy"), deref(s.FailurePolicy, ""), admissionregv1.Fail, admissionregv1.Ignore)
	errs = append(errs, validateParamKind(s.ParamKind, specPath.Child("paramKind"))...)
	errs = append(errs, validateConstraints(s.MatchConstraints, specPath.Child("matchConstraints"))...)
	errs = append(errs, validateMatchConditions(s.MatchConditions, specPath.Child("matchConditions"))...)
	errs = append(errs, validateVariables(s.Variables, specPath.Child("variables"))...)
	if len(s.Validations) == 0 && len(s.AuditAnnotations) == 0 {
		errs = append(errs, field.Required(specPath.Child("validations"), "validations or auditAnnotations must contain at least one item"),
			field.Required(specPath.Child("auditAnnotations"), "validations or auditAnnotations must contain at least one item"))
	}
	for i := range s.Validations {
		errs = append(errs, validateValidation(&s.Validations[i], specPath.Child("validations").Index(i))...)
	}
	return append(errs, validateAuditAnnotations(name, s.AuditAnnotations, specPath.Child("auditAnnotations"))...)
}

func validateValidation(v *admissionregv1.Validation, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	expression, message := strings.TrimSpace(v.Expression), strings.TrimSpace(v.Message)
	if expression == "" {
		errs = append(errs, field.Required(at.Child("expression"), "expression is not specified"))
	}
	switch {
	case v.MessageExpression != "" && strings.TrimSpace(v.MessageExpression) == "":
		errs = append(errs, field.Invalid(at.Child("messageExpression"), v.MessageExpression, "must be non-empty if specified"))
	case v.Message != "" && message == "":
		errs = append(errs, field.Invalid(at.Child("message"), v.Message, "must be non-empty if specified"))
	case strings.ContainsAny(message, "\n\r"):
		errs = append(errs, field.Invalid(at.Child("message"), v.Message, "must not contain line breaks"))
	}
	if r := v.Reason; r != nil {
		errs = append(errs, oneOf(at.Child("reason"), *r, metav1.StatusReasonForbidden, metav1.StatusReasonInvalid,
			metav1.StatusReasonRequestEntityTooLarge)...)
	}
	return errs
}

func validateAuditAnnotations(policy string, list []admissionregv1.AuditAnnotation, at *field.Path) field.ErrorList {
	const most, longest = 20, 5 * 1024
	var errs field.ErrorList
	if len(list) > most {
		errs = append(errs, field.Invalid(at, list, "must not have more than 20 auditAnnotations"))
	}
	keys := sets.Set[string]{}
	for i, a := range list {
		p := at.Index(i)
		if policy == "" {
			errs = append(errs, field.Invalid(p.Child("key"), a.Key, "requires metadata.name be non-empty"))
		} else { // in the audit log the key has the policy's name before it
			full := policy + "/" + a.Key
			errs = append(errs, check(p.Child("key"), full, nameIsQualified(full))...)
		}
		if keys.Has(a.Key) {
			errs = append(errs, field.Duplicate(p.Child("key"), a.Key))
		}
		keys.Insert(a.Key)
		if strings.TrimSpace(a.ValueExpression) == "" {
			errs = append(errs, field.Required(p.Child("valueExpression"), "valueExpression is not specified"))
		} else if len(a.ValueExpression) > longest {
			errs = append(errs, field.Required(p.Child("valueExpression"), "must not exceed 5kb in length"))
		}
	}
	return errs
}
