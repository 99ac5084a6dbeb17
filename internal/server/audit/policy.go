package audit

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"hyperkube/internal/config"
	"hyperkube/internal/server/request"
)

// policy decides what is logged of a request.
type policy struct{ auditv1.Policy }

// decision is what the policy says of one request.
type decision struct {
	level             auditv1.Level
	omit              []auditv1.Stage
	omitManagedFields bool
}

// readPolicy reads and checks a file.
func readPolicy(path string) (*policy, error) {
	p := &policy{}
	if err := config.LoadKind(path, auditv1.SchemeGroupVersion.WithKind("Policy"), &p.Policy); err != nil {
		return nil, fmt.Errorf("--audit-policy-file: %w", err)
	}
	if errs := validate(&p.Policy); len(errs) > 0 {
		return nil, fmt.Errorf("--audit-policy-file: configuration file %s: %w", path, errs.ToAggregate())
	}
	return p, nil
}

func (p *policy) decide(req *request.Request) decision {
	for i := range p.Rules {
		r := &p.Rules[i]
		if !matches(r, req) {
			continue
		}
		d := decision{level: r.Level, omit: slices.Concat(p.OmitStages, r.OmitStages), omitManagedFields: p.OmitManagedFields}
		if r.OmitManagedFields != nil {
			d.omitManagedFields = *r.OmitManagedFields
		}
		return d
	}
	return decision{level: auditv1.LevelNone}
}

func matches(r *auditv1.PolicyRule, req *request.Request) bool {
	if len(r.Users) > 0 && (req.User == nil || !slices.Contains(r.Users, req.User.GetName())) {
		return false
	}
	if len(r.UserGroups) > 0 && (req.User == nil || !slices.ContainsFunc(req.User.GetGroups(), func(g string) bool { return slices.Contains(r.UserGroups, g) })) {
		return false
	}
	if len(r.Verbs) > 0 && !slices.Contains(r.Verbs, req.Verb) {
		return false
	}
	switch {
	case len(r.Namespaces) > 0 || len(r.Resources) > 0:
		return req.IsResourceRequest && matchesResource(r, req)
	case len(r.NonResourceURLs) > 0:
		return !req.IsResourceRequest && slices.ContainsFunc(r.NonResourceURLs, func(u string) bool { return matchesPath(u, req.Path) })
	}
	return true
}

func matchesPath(pattern, path string) bool {
	if prefix, wild := strings.CutSuffix(pattern, "*"); wild {
		return strings.HasPrefix(path, prefix)
	}
	return path == pattern
}

func matchesResource(r *auditv1.PolicyRule, req *request.Request) bool {
	if len(r.Namespaces) > 0 && !slices.Contains(r.Namespaces, req.Namespace) {
		return false
	}
	if len(r.Resources) == 0 {
		return true
	}
	for _, g := range r.Resources {
		if g.Group != "*" && g.Group != req.APIGroup {
			continue
		}
		if len(g.Resources) == 0 {
			return true
		}
		named := len(g.ResourceNames) == 0 || slices.Contains(g.ResourceNames, req.Name)
		if named && slices.ContainsFunc(g.Resources, func(p string) bool { return matchesName(p, req.Resource, req.Subresource) }) {
			return true
		}
	}
	return false
}

// matchesName knows "*", "pods", "pods/log", "pods/*" and "*/scale".
func matchesName(pattern, resource, sub string) bool {
	if pattern == "*" {
		return true
	}
	wantResource, wantSub, hasSub := strings.Cut(pattern, "/")
	if !hasSub {
		return sub == "" && resource == pattern
	}
	return sub != "" && (wantResource == "*" || wantResource == resource) && (wantSub == "*" || wantSub == sub)
}

var (
	levels = []auditv1.Level{auditv1.LevelNone, auditv1.LevelMetadata, auditv1.LevelRequest, auditv1.LevelRequestResponse}
	stages = []auditv1.Stage{auditv1.StageRequestReceived, auditv1.StageResponseStarted, auditv1.StageResponseComplete, auditv1.StagePanic}
)

func validate(p *auditv1.Policy) field.ErrorList {
	errs := validateStages(p.OmitStages, field.NewPath("omitStages"))
	rules := field.NewPath("rules")
	if len(p.Rules) == 0 {
		errs = append(errs, field.Required(rules, "a policy without rules logs nothing"))
	}
	for i := range p.Rules {
		errs = append(errs, validateRule(&p.Rules[i], rules.Index(i))...)
	}
	return errs
}

func validateRule(r *auditv1.PolicyRule, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch {
	case r.Level == "":
		errs = append(errs, field.Required(at.Child("level"), ""))
	case !slices.Contains(levels, r.Level):
		errs = append(errs, field.NotSupported(at.Child("level"), r.Level, levels))
	}
	errs = append(errs, validateStages(r.OmitStages, at.Child("omitStages"))...)
	if len(r.NonResourceURLs) > 0 && (len(r.Resources) > 0 || len(r.Namespaces) > 0) {
		errs = append(errs, field.Invalid(at.Child("nonResourceURLs"), r.NonResourceURLs, "rules cannot apply to both regular resources and non-resource URLs"))
	}
	for i, u := range r.NonResourceURLs {
		path := at.Child("nonResourceURLs").Index(i)
		if u != "*" && !strings.HasPrefix(u, "/") {
			errs = append(errs, field.Invalid(path, u, "non-resource URL rules must begin with a '/' character"))
		}
		if u != "" && strings.Contains(u[:len(u)-1], "*") {
			errs = append(errs, field.Invalid(path, u, "non-resource URL wildcards '*' must be the final character of the rule"))
		}
	}
	for i := range r.Resources {
		errs = append(errs, validateResources(&r.Resources[i], at.Child("resources").Index(i))...)
	}
	return errs
}

func validateResources(g *auditv1.GroupResources, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if strings.ContainsAny(g.Group, "/ ") || strings.Contains(g.Group, "*") && g.Group != "*" {
		errs = append(errs, field.Invalid(at.Child("group"), g.Group, "must be the name of an API group, or *"))
	}
	if len(g.ResourceNames) > 0 && len(g.Resources) == 0 {
		errs = append(errs, field.Invalid(at.Child("resourceNames"), g.ResourceNames, "using resourceNames requires at least one resource"))
	}
	for i, r := range g.Resources {
		res, sub, hasSub := strings.Cut(r, "/")
		if res == "" || hasSub && sub == "" || r == "*/*" || strings.Contains(strings.TrimPrefix(res, "*"), "*") || strings.Contains(sub, "*") && sub != "*" {
			errs = append(errs, field.Invalid(at.Child("resources").Index(i), r, "must be like *, pods, pods/log, pods/* or */scale"))
		}
	}
	return errs
}

func validateStages(list []auditv1.Stage, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, s := range list {
		if !slices.Contains(stages, s) {
			errs = append(errs, field.NotSupported(at.Index(i), s, stages))
		}
	}
	return errs
}
