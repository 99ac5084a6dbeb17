package fairness

import (
	"slices"
	"strings"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authentication/user"

	"hyperkube/internal/server/request"
)

// rule is a FlowSchema whose priority level is there.
type rule struct {
	name          string
	uid, levelUID types.UID
	precedence    int32
	level         *level
	by            flowcontrolv1.FlowDistinguisherMethodType
	rules         []flowcontrolv1.PolicyRulesWithSubjects
}

// match finds the first FlowSchema that is meant for the request. The last one is for all.
func (f *Fairness) match(req *request.Request) *rule {
	f.mu.RLock()
	defer f.mu.RUnlock()
	for _, r := range f.rules {
		if r.matches(req) {
			return r
		}
	}
	return f.rules[len(f.rules)-1]
}

func (r *rule) matches(req *request.Request) bool {
	for i := range r.rules {
		p := &r.rules[i]
		if !slices.ContainsFunc(p.Subjects, func(s flowcontrolv1.Subject) bool { return isSubject(&s, req.User) }) {
			continue
		}
		if req.IsResourceRequest {
			for j := range p.ResourceRules {
				if matchesResource(&p.ResourceRules[j], req) {
					return true
				}
			}
			continue
		}
		for j := range p.NonResourceRules {
			n := &p.NonResourceRules[j]
			if has(n.Verbs, req.Verb) && slices.ContainsFunc(n.NonResourceURLs, func(u string) bool { return matchesPath(u, req.Path) }) {
				return true
			}
		}
	}
	return false
}

func isSubject(s *flowcontrolv1.Subject, u user.Info) bool {
	switch {
	case s.Kind == flowcontrolv1.SubjectKindUser && s.User != nil:
		return s.User.Name == flowcontrolv1.NameAll || s.User.Name == u.GetName()
	case s.Kind == flowcontrolv1.SubjectKindGroup && s.Group != nil:
		return s.Group.Name == flowcontrolv1.NameAll || slices.Contains(u.GetGroups(), s.Group.Name)
	case s.Kind == flowcontrolv1.SubjectKindServiceAccount && s.ServiceAccount != nil:
		account, ok := strings.CutPrefix(u.GetName(), "system:serviceaccount:")
		namespace, name, two := strings.Cut(account, ":")
		return ok && two && namespace == s.ServiceAccount.Namespace && (s.ServiceAccount.Name == flowcontrolv1.NameAll || name == s.ServiceAccount.Name)
	}
	return false
}

func matchesResource(p *flowcontrolv1.ResourcePolicyRule, req *request.Request) bool {
	if !has(p.Verbs, req.Verb) || !has(p.APIGroups, req.APIGroup) {
		return false
	}
	resource := req.Resource
	if req.Subresource != "" {
		resource += "/" + req.Subresource
	}
	if !has(p.Resources, resource) {
		return false
	}
	if req.Namespace == "" {
		return p.ClusterScope
	}
	return has(p.Namespaces, req.Namespace)
}

// matchesPath allows a path to end in /* for all below it, and * for all.
func matchesPath(pattern, path string) bool {
	if pattern == flowcontrolv1.NonResourceAll || pattern == path {
		return true
	}
	above, ok := strings.CutSuffix(pattern, "*")
	return ok && strings.HasSuffix(above, "/") && strings.HasPrefix(path, above)
}

func has(list []string, value string) bool {
	return slices.Contains(list, "*") || slices.Contains(list, value)
}

// distinguish names the flow of a request within its schema.
func (r *rule) distinguish(req *request.Request) string {
	switch r.by {
	case flowcontrolv1.FlowDistinguisherMethodByUserType:
		return req.User.GetName()
	case flowcontrolv1.FlowDistinguisherMethodByNamespaceType:
		return req.Namespace
	}
	return ""
}
