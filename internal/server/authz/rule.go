package authz

import (
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// ask is a request in the form in which rules are compared with it.
type ask struct {
	verb, group, resource, subresource, name, path string
	isResource                                     bool
}

func askOf(a authorizer.Attributes) ask {
	return ask{verb: a.GetVerb(), group: a.GetAPIGroup(), resource: a.GetResource(), subresource: a.GetSubresource(),
		name: a.GetName(), path: a.GetPath(), isResource: a.IsResourceRequest()}
}

// allows says whether a rule covers a request.
func (q *ask) allowedBy(r *rbacv1.PolicyRule) bool {
	if !has(r.Verbs, q.verb) {
		return false
	}
	if !q.isResource {
		return slices.ContainsFunc(r.NonResourceURLs, func(p string) bool { return matchPath(p, q.path) })
	}
	return has(r.APIGroups, q.group) && q.resourceIn(r.Resources) &&
		(len(r.ResourceNames) == 0 || slices.Contains(r.ResourceNames, q.name))
}

func (q *ask) allowedByAny(rules []rbacv1.PolicyRule) bool {
	for i := range rules {
		if q.allowedBy(&rules[i]) {
			return true
		}
	}
	return false
}

// resourceIn knows the forms of a resource in a rule: "*", "pods", "pods/log" and "*/scale".
func (q *ask) resourceIn(resources []string) bool {
	for _, r := range resources {
		if r == rbacv1.ResourceAll {
			return true
		}
		if q.subresource == "" {
			if r == q.resource {
				return true
			}
			continue
		}
		// resource + "/" + subresource, without making the string
		main, sub, ok := strings.Cut(r, "/")
		if ok && sub == q.subresource && (main == q.resource || main == "*") {
			return true
		}
	}
	return false
}

func has(list []string, v string) bool {
	for _, s := range list {
		if s == v || s == "*" {
			return true
		}
	}
	return false
}

// matchPath compares a path with a pattern that may end in "*".
func matchPath(pattern, path string) bool {
	if p, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(path, p)
	}
	return pattern == path
}
