package object

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/apis/flowcontrol/bootstrap"

	"hyperkube/internal/object/goform"
)

func flowSchemaKind() *Kind {
	type schema = flowcontrolv1.FlowSchema
	spec := doc(flowcontrolv1.FlowSchemaSpec{}.SwaggerDoc())
	return &Kind{
		Versions:      []Version{version[schema, flowcontrolv1.FlowSchemaList](flowcontrolv1.SchemeGroupVersion, "FlowSchema")},
		Resource:      "flowschemas",
		Singular:      "flowschema",
		Scope:         Cluster,
		StoragePrefix: "flowschemas",
		Strategy: rules[*schema]{
			Default: func(f *schema) {
				setDefault(&f.Spec.MatchingPrecedence, 1000)
			},
			PrepareCreate: func(f *schema) {
				f.Status = flowcontrolv1.FlowSchemaStatus{}
				firstGeneration(f)
			},
			PrepareUpdate: func(f, old *schema) {
				f.Status = *old.Status.DeepCopy()
				nextGeneration(f, old, f.Spec, old.Spec)
			},
			Validate: validateFlowSchema,
		}.full(Cluster, nameIsSubdomain),
		Subresources: []Subresource{writes("status", rules[*schema]{
			PrepareUpdate: func(f, old *schema) {
				f.Spec = *old.Spec.DeepCopy()
				metav1.ResetObjectMetaForStatus(f, old)
			},
		})},
		RowOrder: func(a, b Object) int {
			x, y := a.(*schema), b.(*schema)
			return cmp.Or(cmp.Compare(x.Spec.MatchingPrecedence, y.Spec.MatchingPrecedence), cmp.Compare(x.Name, y.Name))
		},
		Columns: []metav1.TableColumnDefinition{
			nameColumn(),
			column("PriorityLevel", "string", doc(flowcontrolv1.PriorityLevelConfigurationReference{}.SwaggerDoc())["name"]),
			column("MatchingPrecedence", "string", spec["matchingPrecedence"]),
			column("DistinguisherMethod", "string", spec["distinguisherMethod"]),
			ageColumn(),
			column("MissingPL", "string", "references a broken or non-existent PriorityLevelConfiguration"),
		},
		Cells: cells(func(f *schema, now time.Time) []any {
			method, missing := none, "?"
			if f.Spec.DistinguisherMethod != nil {
				method = string(f.Spec.DistinguisherMethod.Type)
			}
			for _, c := range f.Status.Conditions {
				if c.Type == flowcontrolv1.FlowSchemaConditionDangling {
					missing = string(c.Status)
				}
			}
			return []any{f.Name, f.Spec.PriorityLevelConfiguration.Name, int64(f.Spec.MatchingPrecedence), method, age(f, now), missing}
		}),
	}
}

func validateFlowSchema(f *flowcontrolv1.FlowSchema) field.ErrorList {
	const most = 10000
	s := &f.Spec
	var errs field.ErrorList
	at := specPath.Child("matchingPrecedence")
	if s.MatchingPrecedence <= 0 {
		errs = append(errs, field.Invalid(at, s.MatchingPrecedence, "must be a positive value"))
	} else if s.MatchingPrecedence > most {
		errs = append(errs, field.Invalid(at, s.MatchingPrecedence, "must not be greater than 10000"))
	}
	if s.MatchingPrecedence == 1 && f.Name != flowcontrolv1.FlowSchemaNameExempt {
		errs = append(errs, field.Invalid(at, s.MatchingPrecedence, "only the schema named 'exempt' may have matchingPrecedence 1"))
	}
	if d := s.DistinguisherMethod; d != nil {
		errs = append(errs, distinguishes(d, specPath.Child("distinguisherMethod", "type"))...)
	}
	if n := s.PriorityLevelConfiguration.Name; n == "" {
		errs = append(errs, field.Required(specPath.Child("priorityLevelConfiguration", "name"), "must reference a priority level"))
	} else {
		errs = append(errs, check(specPath.Child("priorityLevelConfiguration", "name"), n, nameIsSubdomain(n, false))...)
	}
	errs = append(errs, mandatorySchema(f)...)
	for i := range s.Rules {
		errs = append(errs, validateFlowRule(&s.Rules[i], specPath.Child("rules").Index(i))...)
	}
	return errs
}

func distinguishes(d *flowcontrolv1.FlowDistinguisherMethod, at *field.Path) field.ErrorList {
	switch d.Type {
	case flowcontrolv1.FlowDistinguisherMethodByNamespaceType, flowcontrolv1.FlowDistinguisherMethodByUserType:
		return nil
	}
	return field.ErrorList{field.NotSupported(at, goform.Of(d),
		[]flowcontrolv1.FlowDistinguisherMethodType{flowcontrolv1.FlowDistinguisherMethodByNamespaceType, flowcontrolv1.FlowDistinguisherMethodByUserType})}
}

func validateFlowRule(r *flowcontrolv1.PolicyRulesWithSubjects, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(r.Subjects) == 0 {
		errs = append(errs, field.Required(at.Child("subjects"), "subjects must contain at least one value"))
	}
	for i := range r.Subjects {
		errs = append(errs, validateFlowSubject(&r.Subjects[i], at.Child("subjects").Index(i))...)
	}
	if len(r.ResourceRules) == 0 && len(r.NonResourceRules) == 0 {
		errs = append(errs, field.Required(at, "at least one of resourceRules and nonResourceRules has to be non-empty"))
	}
	for i := range r.ResourceRules {
		errs = append(errs, validateFlowResources(&r.ResourceRules[i], at.Child("resourceRules").Index(i))...)
	}
	for i := range r.NonResourceRules {
		errs = append(errs, validateFlowPaths(&r.NonResourceRules[i], at.Child("nonResourceRules").Index(i))...)
	}
	return errs
}

func validateFlowResources(r *flowcontrolv1.ResourcePolicyRule, at *field.Path) field.ErrorList {
	errs := validateFlowVerbs(r.Verbs, at.Child("verbs"))
	errs = append(errs, oneStar(r.APIGroups, at.Child("apiGroups"), "resource rules must supply at least one api group", "api groups")...)
	errs = append(errs, oneStar(r.Resources, at.Child("resources"), "resource rules must supply at least one resource", "resources")...)
	p := at.Child("namespaces")
	if len(r.Namespaces) == 0 && r.ClusterScope {
		return errs
	}
	if bad := oneStar(r.Namespaces, p, "resource rules that are not cluster scoped must supply at least one namespace", "namespaces"); len(bad) > 0 {
		return append(errs, bad...)
	}
	for i, n := range r.Namespaces {
		if n == flowcontrolv1.NamespaceEvery {
			continue
		}
		for _, why := range nameIsLabel(n, false) {
			errs = append(errs, field.Invalid(p.Index(i), n, "each member of this list must be '*' or a DNS-1123 label; "+why))
		}
	}
	return errs
}

func validateFlowPaths(r *flowcontrolv1.NonResourcePolicyRule, at *field.Path) field.ErrorList {
	errs := validateFlowVerbs(r.Verbs, at.Child("verbs"))
	p := at.Child("nonResourceURLs")
	if bad := oneStar(r.NonResourceURLs, p, "nonResourceURLs must contain at least one value", "non-resource URLs"); len(bad) > 0 {
		return append(errs, bad...)
	}
	for i, u := range r.NonResourceURLs {
		if why := flowPath(u); why != "" {
			errs = append(errs, field.Invalid(p.Index(i), u, why))
		}
	}
	return errs
}

// flowPath says what is wrong with a path of a non-resource rule; empty: nothing.
func flowPath(u string) string {
	switch {
	case u == "":
		return "must not be empty"
	case u == flowcontrolv1.NonResourceAll, u == "/":
		return ""
	case !strings.HasPrefix(u, "/"):
		return "must start with slash"
	case strings.ContainsAny(u, " \t\r\n"):
		return "must not contain white-space"
	case strings.Contains(u, "//"):
		return "must not contain double slash"
	case strings.Contains(u, "*") && (strings.Count(u, "*") > 1 || !strings.HasSuffix(u, "/*")):
		return "wildcard can only do suffix matching"
	}
	return ""
}

var flowVerbs = []string{"create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"}

func validateFlowVerbs(verbs []string, at *field.Path) field.ErrorList {
	errs := oneStar(verbs, at, "verbs must contain at least one value", "verbs")
	known := func(v string) bool { return v == flowcontrolv1.VerbAll || slices.Contains(flowVerbs, v) }
	if len(errs) == 0 && slices.ContainsFunc(verbs, func(v string) bool { return !known(v) }) {
		errs = append(errs, field.NotSupported(at, verbs, flowVerbs))
	}
	return errs
}

// oneStar wants a list not to be empty, and a star in it to be alone.
func oneStar(list []string, at *field.Path, required, others string) field.ErrorList {
	if len(list) == 0 {
		return field.ErrorList{field.Required(at, required)}
	}
	if len(list) > 1 && slices.Contains(list, "*") {
		return field.ErrorList{field.Invalid(at, list, "if '*' is present, must not specify other "+others)}
	}
	return nil
}

// mandatorySchema holds the schemas that every server has to what they are.
func mandatorySchema(f *flowcontrolv1.FlowSchema) field.ErrorList {
	for _, m := range bootstrap.MandatoryFlowSchemas {
		if m.Name == f.Name && !apiequality.Semantic.DeepEqual(m.Spec, f.Spec) {
			return field.ErrorList{field.Invalid(specPath, goform.Of(f.Spec), fmt.Sprintf("spec of '%s' must equal the fixed value", f.Name))}
		}
	}
	return nil
}

func validateFlowSubject(s *flowcontrolv1.Subject, at *field.Path) field.ErrorList {
	errs := oneOf(at.Child("kind"), s.Kind, flowcontrolv1.SubjectKindGroup, flowcontrolv1.SubjectKindServiceAccount, flowcontrolv1.SubjectKindUser)
	switch s.Kind {
	case flowcontrolv1.SubjectKindUser:
		if s.User == nil {
			errs = append(errs, field.Required(at.Child("user"), "user is required when subject kind is 'User'"))
		} else if s.User.Name == "" {
			errs = append(errs, field.Required(at.Child("user", "name"), ""))
		}
	case flowcontrolv1.SubjectKindGroup:
		if s.Group == nil {
			errs = append(errs, field.Required(at.Child("group"), "group is required when subject kind is 'Group'"))
		} else if s.Group.Name == "" {
			errs = append(errs, field.Required(at.Child("group", "name"), ""))
		}
	case flowcontrolv1.SubjectKindServiceAccount:
		a := s.ServiceAccount
		if a == nil {
			errs = append(errs, field.Required(at.Child("serviceAccount"), "serviceAccount is required when subject kind is 'ServiceAccount'"))
			break
		}
		name, namespace := at.Child("serviceAccount", "name"), at.Child("serviceAccount", "namespace")
		if a.Name == "" {
			errs = append(errs, field.Required(name, ""))
		} else if a.Name != "*" {
			errs = append(errs, check(name, a.Name, nameIsSubdomain(a.Name, false))...)
		}
		if a.Namespace == "" {
			errs = append(errs, field.Required(namespace, "must specify namespace for service account"))
		} else {
			errs = append(errs, check(namespace, a.Namespace, nameIsLabel(a.Namespace, false))...)
		}
	default:
		return errs
	}
	for _, of := range []struct {
		kind flowcontrolv1.SubjectKind
		name string
		set  bool
	}{
		{flowcontrolv1.SubjectKindServiceAccount, "serviceAccount", s.ServiceAccount != nil},
		{flowcontrolv1.SubjectKindUser, "user", s.User != nil},
		{flowcontrolv1.SubjectKindGroup, "group", s.Group != nil},
	} {
		if of.set && s.Kind != of.kind {
			errs = append(errs, field.Forbidden(at.Child(of.name), fmt.Sprintf("%s is forbidden when subject kind is not '%s'", of.name, of.kind)))
		}
	}
	return errs
}
