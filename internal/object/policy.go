package object

import (
	"strings"

	admissionregv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// What validating and mutating admission policies share. Whether their CEL expressions compile is judged where
// they are run, with the server's libraries (internal/server/admission/policies).

func defaultMatch(m *admissionregv1.MatchResources) {
	if m == nil {
		return
	}
	setDefaultPtr(&m.MatchPolicy, admissionregv1.Equivalent)
	setDefaultPtr(&m.NamespaceSelector, metav1.LabelSelector{})
	setDefaultPtr(&m.ObjectSelector, metav1.LabelSelector{})
	for _, rules := range [][]admissionregv1.NamedRuleWithOperations{m.ResourceRules, m.ExcludeResourceRules} {
		for i := range rules {
			setDefaultPtr(&rules[i].Scope, admissionregv1.AllScopes)
		}
	}
}

func validateMatch(m *admissionregv1.MatchResources, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if m.MatchPolicy == nil {
		errs = append(errs, field.Required(at.Child("matchPolicy"), ""))
	} else {
		errs = append(errs, oneOf(at.Child("matchPolicy"), *m.MatchPolicy, admissionregv1.Equivalent, admissionregv1.Exact)...)
	}
	if m.NamespaceSelector == nil {
		errs = append(errs, field.Required(at.Child("namespaceSelector"), ""))
	}
	if m.ObjectSelector == nil {
		errs = append(errs, field.Required(at.Child("objectSelector"), ""))
	}
	errs = append(errs, validateLabelSelector(m.NamespaceSelector, at.Child("namespaceSelector"))...)
	errs = append(errs, validateLabelSelector(m.ObjectSelector, at.Child("objectSelector"))...)
	for _, part := range []struct {
		name  string
		rules []admissionregv1.NamedRuleWithOperations
	}{{"resourceRules", m.ResourceRules}, {"excludeResourceRules", m.ExcludeResourceRules}} {
		for i := range part.rules {
			r, p := &part.rules[i], at.Child(part.name).Index(i)
			errs = append(errs, validateAdmissionRule(&r.RuleWithOperations, p)...)
			seen := sets.Set[string]{}
			for k, n := range r.ResourceNames {
				errs = append(errs, check(p.Child("resourceNames").Index(k), n, nameIsSegment(n, false))...)
				if seen.Has(n) {
					errs = append(errs, field.Duplicate(p.Child("resourceNames").Index(k), n))
				}
				seen.Insert(n)
			}
		}
	}
	return errs
}

// validateConstraints judges what a policy as a whole matches: at least one rule.
func validateConstraints(m *admissionregv1.MatchResources, at *field.Path) field.ErrorList {
	if m == nil {
		return field.ErrorList{field.Required(at, "")}
	}
	errs := validateMatch(m, at)
	if len(m.ResourceRules) == 0 {
		errs = append(errs, field.Required(at.Child("resourceRules"), ""))
	}
	return errs
}

func validateParamKind(p *admissionregv1.ParamKind, at *field.Path) field.ErrorList {
	if p == nil {
		return nil
	}
	var errs field.ErrorList
	switch {
	case p.APIVersion == "":
		errs = append(errs, field.Required(at.Child("apiVersion"), ""))
	default:
		if gv, err := schema.ParseGroupVersion(p.APIVersion); err != nil {
			errs = append(errs, field.Invalid(at.Child("apiVersion"), p.APIVersion, err.Error()))
		} else {
			if gv.Group != "" {
				errs = append(errs, check(at.Child("apiVersion"), gv.Group, nameIsSubdomain(gv.Group, false))...)
			}
			errs = append(errs, check(at.Child("apiVersion"), gv.Version, nameIs1035Label(gv.Version, false))...)
		}
	}
	if p.Kind == "" {
		errs = append(errs, field.Required(at.Child("kind"), ""))
	} else {
		for _, why := range nameIs1035Label(strings.ToLower(p.Kind), false) {
			errs = append(errs, field.Invalid(at.Child("kind"), p.Kind, "may have mixed case, but should otherwise match: "+why))
		}
	}
	return errs
}

func validateParamRef(p *admissionregv1.ParamRef, at *field.Path) field.ErrorList {
	if p == nil {
		return nil
	}
	var errs field.ErrorList
	switch {
	case p.Name != "" && p.Selector != nil:
		errs = append(errs, field.Forbidden(at.Child("name"), "name and selector are mutually exclusive"),
			field.Forbidden(at.Child("selector"), "name and selector are mutually exclusive"))
	case p.Name != "":
		errs = append(errs, check(at.Child("name"), p.Name, nameIsSegment(p.Name, false))...)
	case p.Selector != nil:
		errs = append(errs, validateLabelSelector(p.Selector, at.Child("selector"))...)
	default:
		errs = append(errs, field.Required(at, "one of name or selector must be specified"))
	}
	if p.ParameterNotFoundAction == nil {
		return append(errs, field.Required(at.Child("parameterNotFoundAction"), ""))
	}
	return append(errs, requiredOneOf(at.Child("parameterNotFoundAction"), *p.ParameterNotFoundAction,
		admissionregv1.DenyAction, admissionregv1.AllowAction)...)
}

// validateVariables judges the names of variables: CEL identifiers. Of two with one name the later counts.
func validateVariables(list []admissionregv1.Variable, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, v := range list {
		p := at.Index(i)
		switch {
		case v.Name == "":
			errs = append(errs, field.Required(p.Child("name"), "name is not specified"))
		case !isIdentifier(v.Name):
			errs = append(errs, field.Invalid(p.Child("name"), v.Name, "must be a valid CEL identifier"))
		}
		if strings.TrimSpace(v.Expression) == "" {
			errs = append(errs, field.Required(p.Child("expression"), "expression is not specified"))
		}
	}
	return errs
}

func isIdentifier(s string) bool {
	for i, r := range s {
		letter := r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return s != ""
}

func paramRefText(p *admissionregv1.ParamRef) string {
	switch {
	case p == nil:
		return "<unset>"
	case p.Name != "" && p.Namespace != "":
		return p.Namespace + "/" + p.Name
	case p.Name != "":
		return "*/" + p.Name
	}
	return p.Selector.String()
}

func paramKindText(p *admissionregv1.ParamKind) string {
	if p == nil {
		return "<unset>"
	}
	return p.APIVersion + "/" + p.Kind
}
