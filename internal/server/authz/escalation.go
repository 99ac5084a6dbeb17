package authz

import (
	"context"
	"fmt"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/component-helpers/auth/rbac/validation"

	"hyperkube/internal/object"
	"hyperkube/internal/server/admission"
)

// Escalation refuses roles and bindings that would give away more than their writer has, unless he has the verb
// "escalate" on the role or "bind" on the role bound
// (https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping).
// It is an admission validator that belongs into every chain when RBAC is on.
type Escalation struct {
	rbac *RBAC
	az   Decider
}

// NewEscalation makes the check for an authorizer with the mode RBAC.
func NewEscalation(a *Authorizer) *Escalation { return &Escalation{rbac: a.RBAC, az: a} }

// Name of the check in logs. It is no plugin that could be switched off.
func (e *Escalation) Name() string { return "RBACEscalation" }

// Validate implements admission.Validator.
func (e *Escalation) Validate(ctx context.Context, a *admission.Attributes) error {
	if a.GVR.Group != rbacv1.GroupName || a.Subresource != "" || a.Object == nil || a.User == nil {
		return nil
	}
	if a.Operation != admission.Create && a.Operation != admission.Update || slices.Contains(a.User.GetGroups(), user.SystemPrivilegedGroup) {
		return nil
	}
	switch o := a.Object.(type) {
	case *rbacv1.Role:
		old, _ := a.OldObject.(*rbacv1.Role)
		if old != nil && equality.Semantic.DeepEqual(old.Rules, o.Rules) {
			return nil
		}
		return e.role(ctx, a, o.Rules)
	case *rbacv1.ClusterRole:
		return e.clusterRole(ctx, a, o)
	case *rbacv1.RoleBinding:
		old, _ := a.OldObject.(*rbacv1.RoleBinding)
		if old != nil && equality.Semantic.DeepEqual(old.Subjects, o.Subjects) && old.RoleRef == o.RoleRef {
			return nil
		}
		return e.binding(ctx, a, o.RoleRef)
	case *rbacv1.ClusterRoleBinding:
		old, _ := a.OldObject.(*rbacv1.ClusterRoleBinding)
		if old != nil && equality.Semantic.DeepEqual(old.Subjects, o.Subjects) && old.RoleRef == o.RoleRef {
			return nil
		}
		return e.binding(ctx, a, o.RoleRef)
	}
	return nil
}

func (e *Escalation) clusterRole(ctx context.Context, a *admission.Attributes, o *rbacv1.ClusterRole) error {
	old, _ := a.OldObject.(*rbacv1.ClusterRole)
	if old != nil && equality.Semantic.DeepEqual(old.Rules, o.Rules) && equality.Semantic.DeepEqual(old.AggregationRule, o.AggregationRule) {
		return nil
	}
	if o.AggregationRule != nil && len(o.AggregationRule.ClusterRoleSelectors) > 0 && !e.allowed(ctx, a, "escalate", "clusterroles", o) {
		held, _ := e.rbac.RulesFor(ctx, a.User, "") // rules of roles that exist no more are not held
		all := []rbacv1.PolicyRule{
			{Verbs: []string{"*"}, APIGroups: []string{"*"}, Resources: []string{"*"}},
			{Verbs: []string{"*"}, NonResourceURLs: []string{"*"}},
		}
		if ok, _ := validation.Covers(held, all); !ok {
			return admission.Forbidden(a, "must have cluster-admin privileges to use an aggregationRule")
		}
	}
	return e.role(ctx, a, o.Rules)
}

// role checks the writer of a role.
func (e *Escalation) role(ctx context.Context, a *admission.Attributes, rules []rbacv1.PolicyRule) error {
	if e.allowed(ctx, a, "escalate", a.GVR.Resource, a.Object) {
		return nil
	}
	return e.covered(ctx, a, rules)
}

// binding checks the writer of a binding.
func (e *Escalation) binding(ctx context.Context, a *admission.Attributes, ref rbacv1.RoleRef) error {
	resource, namespace := "clusterroles", ""
	if ref.Kind == "Role" {
		resource, namespace = "roles", a.Namespace
	}
	bind := authorizer.AttributesRecord{User: a.User, Verb: "bind", APIGroup: rbacv1.GroupName, APIVersion: "*", Resource: resource,
		Name: ref.Name, Namespace: a.Namespace, ResourceRequest: true}
	if d, _, err := e.az.Authorize(ctx, bind); err == nil && d == authorizer.DecisionAllow {
		return nil
	}
	rules, ok := e.rbac.RoleRules(namespace, ref.Name)
	if !ok {
		return apierrors.NewNotFound(rbacv1.Resource(strings.TrimSuffix(resource, "s")), ref.Name)
	}
	return e.covered(ctx, a, rules)
}

func (e *Escalation) allowed(ctx context.Context, a *admission.Attributes, verb, resource string, o object.Object) bool {
	d, _, err := e.az.Authorize(ctx, authorizer.AttributesRecord{User: a.User, Verb: verb, APIGroup: rbacv1.GroupName, APIVersion: "*",
		Resource: resource, Name: o.GetName(), Namespace: a.Namespace, ResourceRequest: true})
	return err == nil && d == authorizer.DecisionAllow
}

// covered refuses rules that the user does not hold himself.
func (e *Escalation) covered(ctx context.Context, a *admission.Attributes, rules []rbacv1.PolicyRule) error {
	held, err := e.rbac.RulesFor(ctx, a.User, a.Namespace)
	ok, missing := validation.Covers(held, rules)
	if ok {
		return nil
	}
	lines := make([]string, 0, len(missing))
	for _, r := range missing {
		lines = append(lines, describe(r))
	}
	slices.Sort(lines)
	text := fmt.Sprintf("user %q (groups=%q) is attempting to grant RBAC permissions not currently held:\n%s",
		a.User.GetName(), a.User.GetGroups(), strings.Join(slices.Compact(lines), "\n"))
	if err != nil {
		text += fmt.Sprintf("; resolution errors: %v", err)
	}
	return admission.Forbidden(a, text)
}

// describe prints a rule on one line.
func describe(r rbacv1.PolicyRule) string {
	var parts []string
	add := func(name string, list []string) {
		if len(list) > 0 {
			parts = append(parts, fmt.Sprintf("%s:%q", name, list))
		}
	}
	add("APIGroups", r.APIGroups)
	add("Resources", r.Resources)
	add("ResourceNames", r.ResourceNames)
	add("NonResourceURLs", r.NonResourceURLs)
	add("Verbs", r.Verbs)
	return "{" + strings.Join(parts, ", ") + "}"
}
