package authz

import (
	"context"
	"fmt"
	"sync"

	rbacv1 "k8s.io/api/rbac/v1"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"hyperkube/internal/client"
)

// RBAC decides by roles and bindings (https://kubernetes.io/docs/reference/access-authn-authz/rbac/). Bindings are
// indexed by subject, so that a decision looks only at those of the user and of his groups.
type RBAC struct {
	gate gate

	mu       sync.RWMutex
	roles    map[roleKey][]rbacv1.PolicyRule
	bindings map[string]map[subject][]*grant // by namespace, "" for the whole cluster
}

// roleKey names a role; the namespace of a cluster role is empty.
type roleKey struct{ namespace, name string }

// subject is a user (service accounts too, under their user name) or a group.
type subject struct {
	group bool
	name  string
}

// grant is one binding for one of its subjects.
type grant struct {
	binding string
	role    roleKey
	reason  string // why a request is allowed by it
}

func newRBAC(c *Config) *RBAC {
	r := &RBAC{
		gate:  gate{timeout: c.StartTimeout},
		roles: map[roleKey][]rbacv1.PolicyRule{}, bindings: map[string]map[subject][]*grant{},
	}
	clusterRoles, roles := client.InformerFor(c.Informers, client.ClusterRoles), client.InformerFor(c.Informers, client.Roles)
	clusterBindings, bindings := client.InformerFor(c.Informers, client.ClusterRoleBindings), client.InformerFor(c.Informers, client.RoleBindings)
	if c.Bootstrapped != nil {
		r.gate.waits = append(r.gate.waits, waitFor(c.Bootstrapped))
	}
	r.gate.waits = append(r.gate.waits, synced(clusterRoles), synced(roles), synced(clusterBindings), synced(bindings))
	clusterRoles.OnChange(func(old, now *rbacv1.ClusterRole) {
		if now != nil {
			r.setRole(roleKey{"", now.Name}, now.Rules)
		} else {
			r.dropRole(roleKey{"", old.Name})
		}
	})
	roles.OnChange(func(old, now *rbacv1.Role) {
		if now != nil {
			r.setRole(roleKey{now.Namespace, now.Name}, now.Rules)
		} else {
			r.dropRole(roleKey{old.Namespace, old.Name})
		}
	})
	clusterBindings.OnChange(func(old, now *rbacv1.ClusterRoleBinding) { r.change(clusterGrants(old), clusterGrants(now)) })
	bindings.OnChange(func(old, now *rbacv1.RoleBinding) { r.change(grants(old), grants(now)) })
	return r
}

// Authorize implements the authorizer.
func (r *RBAC) Authorize(ctx context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	if err := r.gate.wait(ctx); err != nil {
		return authorizer.DecisionNoOpinion, "", err
	}
	q, reason := askOf(a), ""
	errs := r.visit(a.GetUser(), a.GetNamespace(), func(g *grant, rules []rbacv1.PolicyRule) bool {
		if q.allowedByAny(rules) {
			reason = g.reason
		}
		return reason == ""
	})
	if reason != "" {
		return authorizer.DecisionAllow, reason, nil
	}
	if len(errs) > 0 {
		reason = fmt.Sprintf("RBAC: %v", utilerrors.NewAggregate(errs))
	}
	return authorizer.DecisionNoOpinion, reason, nil
}

// RulesFor are all rules that hold for a user in a namespace (empty: in the whole cluster). The error tells of bindings to
// roles that do not exist; the rules are right without them.
func (r *RBAC) RulesFor(ctx context.Context, u user.Info, namespace string) ([]rbacv1.PolicyRule, error) {
	if err := r.gate.wait(ctx); err != nil {
		return nil, err
	}
	var all []rbacv1.PolicyRule
	errs := r.visit(u, namespace, func(_ *grant, rules []rbacv1.PolicyRule) bool {
		all = append(all, rules...)
		return true
	})
	return all, utilerrors.NewAggregate(errs)
}

// RoleRules are the rules of a role; false when there is none of that name.
func (r *RBAC) RoleRules(namespace, name string) ([]rbacv1.PolicyRule, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	rules, ok := r.roles[roleKey{namespace, name}]
	return rules, ok
}

// visit shows f every role bound to the user or one of his groups, first in the cluster, then in the namespace, until f returns false.
func (r *RBAC) visit(u user.Info, namespace string, f func(*grant, []rbacv1.PolicyRule) bool) (errs []error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	show := func(all []*grant) bool {
		for _, g := range all {
			rules, ok := r.roles[g.role]
			if !ok {
				errs = append(errs, notFound(g.role))
				continue
			}
			if !f(g, rules) {
				return false
			}
		}
		return true
	}
	scopes := [2]map[subject][]*grant{r.bindings[""], nil}
	if namespace != "" {
		scopes[1] = r.bindings[namespace]
	}
	for _, scope := range scopes {
		if len(scope) == 0 {
			continue
		}
		if !show(scope[subject{name: u.GetName()}]) {
			return nil
		}
		for _, g := range u.GetGroups() {
			if !show(scope[subject{group: true, name: g}]) {
				return nil
			}
		}
	}
	return errs
}

func notFound(k roleKey) error {
	if k.namespace == "" {
		return fmt.Errorf("clusterrole.%s %q not found", rbacv1.GroupName, k.name)
	}
	return fmt.Errorf("role.%s %q not found", rbacv1.GroupName, k.name)
}

func (r *RBAC) setRole(k roleKey, rules []rbacv1.PolicyRule) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.roles[k] = rules
}

func (r *RBAC) dropRole(k roleKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.roles, k)
}

// bound is a binding as the index sees it.
type bound struct {
	namespace, binding string
	grants             map[subject]*grant
}

func (r *RBAC) change(old, now *bound) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if old != nil {
		r.remove(old)
	}
	if now == nil || len(now.grants) == 0 {
		return
	}
	scope := r.bindings[now.namespace]
	if scope == nil {
		scope = map[subject][]*grant{}
		r.bindings[now.namespace] = scope
	}
	for s, g := range now.grants {
		scope[s] = append(scope[s], g)
	}
}

func (r *RBAC) remove(b *bound) {
	scope := r.bindings[b.namespace]
	for s := range b.grants {
		list := scope[s]
		kept := make([]*grant, 0, len(list))
		for _, g := range list {
			if g.binding != b.binding {
				kept = append(kept, g)
			}
		}
		if len(kept) == 0 {
			delete(scope, s)
		} else {
			scope[s] = kept
		}
	}
	if len(scope) == 0 {
		delete(r.bindings, b.namespace)
	}
}

func clusterGrants(b *rbacv1.ClusterRoleBinding) *bound {
	if b == nil {
		return nil
	}
	return newBound("", b.Name, roleKey{"", b.RoleRef.Name}, b.RoleRef.Kind, b.Subjects)
}

func grants(b *rbacv1.RoleBinding) *bound {
	if b == nil {
		return nil
	}
	key := roleKey{b.Namespace, b.RoleRef.Name}
	if b.RoleRef.Kind == "ClusterRole" {
		key.namespace = ""
	}
	return newBound(b.Namespace, b.Name, key, b.RoleRef.Kind, b.Subjects)
}

func newBound(namespace, name string, role roleKey, kind string, subjects []rbacv1.Subject) *bound {
	b := &bound{namespace: namespace, binding: name, grants: make(map[subject]*grant, len(subjects))}
	what := fmt.Sprintf("ClusterRoleBinding %q", name)
	if namespace != "" {
		what = fmt.Sprintf("RoleBinding %q", name+"/"+namespace)
	}
	for _, s := range subjects {
		key, shown := subject{name: s.Name}, s.Name
		switch s.Kind {
		case rbacv1.UserKind:
		case rbacv1.GroupKind:
			key.group = true
		case rbacv1.ServiceAccountKind:
			ns := s.Namespace
			if ns == "" {
				ns = namespace
			}
			if ns == "" {
				continue
			}
			key.name, shown = serviceaccount.MakeUsername(ns, s.Name), s.Name+"/"+ns
		default:
			continue
		}
		if _, twice := b.grants[key]; !twice {
			b.grants[key] = &grant{binding: name, role: role,
				reason: fmt.Sprintf("RBAC: allowed by %s of %s %q to %s %q", what, kind, role.name, s.Kind, shown)}
		}
	}
	return b
}
