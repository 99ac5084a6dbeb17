package object

import (
	"fmt"
	"time"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

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
	needs := func(at *field.Path, name string, list []string, why string) {
		if len(list) == 0 {
			errs = append(errs, field.Required(at.Child(name), why))
		}
	}
	atLeastOne := func(name string) string { return name + " must contain at least one value" }
	for i, x := range r.ResourceRules {
		p := at.Child("resourceRules").Index(i)
		needs(p, "verbs", x.Verbs, atLeastOne("verbs"))
		needs(p, "apiGroups", x.APIGroups, "resource rules must supply at least one api group")
		needs(p, "resources", x.Resources, "resource rules must supply at least one resource")
		if len(x.Namespaces) == 0 && !x.ClusterScope {
			errs = append(errs, field.Required(p.Child("namespaces"), "resource rules that are not cluster scoped must supply at least one namespace"))
		}
	}
	for i, x := range r.NonResourceRules {
		p := at.Child("nonResourceRules").Index(i)
		needs(p, "verbs", x.Verbs, atLeastOne("verbs"))
		needs(p, "nonResourceURLs", x.NonResourceURLs, atLeastOne("nonResourceURLs"))
	}
	return errs
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
		if a.Name == "" {
			errs = append(errs, field.Required(at.Child("serviceAccount", "name"), ""))
		}
		if a.Namespace == "" {
			errs = append(errs, field.Required(at.Child("serviceAccount", "namespace"), "must specify namespace for service account"))
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
