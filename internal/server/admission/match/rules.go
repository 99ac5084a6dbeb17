// Package match says which writes an admission policy or webhook looks at, in which version, and shows a write to expressions in CEL.
package match

import (
	"context"
	"slices"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"hyperkube/internal/client"
	"hyperkube/internal/object"
	"hyperkube/internal/server/admission"
)

// Constraints select writes.
type Constraints struct {
	Rules, Exclude []admissionregistrationv1.NamedRuleWithOperations
	// Namespaces and Objects select by labels.
	Namespaces, Objects labels.Selector
	// Equivalent rules match other versions of a resource as well.
	Equivalent bool
}

// New reads matchConstraints or matchResources of a policy or its binding; nil selects everything that the other does.
func New(m *admissionregistrationv1.MatchResources) (*Constraints, error) {
	if m == nil {
		return nil, nil
	}
	c := &Constraints{Rules: m.ResourceRules, Exclude: m.ExcludeResourceRules, Equivalent: m.MatchPolicy == nil || *m.MatchPolicy == admissionregistrationv1.Equivalent}
	var err error
	if c.Namespaces, err = Selector(m.NamespaceSelector); err != nil {
		return nil, err
	}
	c.Objects, err = Selector(m.ObjectSelector)
	return c, err
}

// Selector of labels; nil selects everything.
func Selector(s *metav1.LabelSelector) (labels.Selector, error) {
	if s == nil {
		return labels.Everything(), nil
	}
	return metav1.LabelSelectorAsSelector(s)
}

// Matches says whether a write is selected, and in which version the rules look at it. A set without rules selects every resource
// when anyRule is set (a binding narrows down what its policy selects).
func (c *Constraints) Matches(ctx context.Context, api client.Interface, a *admission.Attributes, anyRule bool) (*object.Version, bool, error) {
	own := versionOf(a)
	if c == nil {
		return own, true, nil
	}
	if v, _ := c.find(a, c.Exclude); v != nil {
		return nil, false, nil
	}
	v := own
	if len(c.Rules) > 0 || !anyRule {
		if v, _ = c.find(a, c.Rules); v == nil {
			return nil, false, nil
		}
	}
	if !c.Objects.Empty() && !matchesLabels(c.Objects, a.Object) && !matchesLabels(c.Objects, a.OldObject) {
		return nil, false, nil
	}
	ok, err := c.inNamespace(ctx, api, a)
	return v, ok, err
}

func matchesLabels(s labels.Selector, obj object.Object) bool {
	return obj != nil && s.Matches(labels.Set(obj.GetLabels()))
}

// inNamespace judges the namespace of the write. Cluster-scoped objects are in none and match; namespaces are judged themselves.
func (c *Constraints) inNamespace(ctx context.Context, api client.Interface, a *admission.Attributes) (bool, error) {
	if c.Namespaces.Empty() {
		return true, nil
	}
	if a.Is("", "namespaces", a.Subresource) {
		obj := a.Object
		if obj == nil {
			obj = a.OldObject
		}
		return matchesLabels(c.Namespaces, obj), nil
	}
	if a.Row.Scope == object.Cluster {
		return true, nil
	}
	ns, err := namespaceOf(ctx, api, a)
	if err != nil || ns == nil {
		return false, err
	}
	return c.Namespaces.Matches(labels.Set(ns.Labels)), nil
}

// namespaceOf reads the namespace of a write; nil when there is none.
func namespaceOf(ctx context.Context, api client.Interface, a *admission.Attributes) (*corev1.Namespace, error) {
	if a.Row.Scope == object.Cluster || a.Namespace == "" {
		return nil, nil
	}
	obj, err := api.Get(ctx, client.Namespaces.GVR, "", a.Namespace, metav1.GetOptions{ResourceVersion: "0"})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	ns, _ := obj.(*corev1.Namespace)
	return ns, err
}

func versionOf(a *admission.Attributes) *object.Version {
	for i := range a.Row.Versions {
		if v := &a.Row.Versions[i]; v.GroupVersion == a.GVR.GroupVersion() {
			return v
		}
	}
	return a.Row.Hub()
}

// find gives the version of the write that a rule names: that of the request, or else another of the same resource.
func (c *Constraints) find(a *admission.Attributes, rules []admissionregistrationv1.NamedRuleWithOperations) (*object.Version, bool) {
	own := versionOf(a)
	for i := range rules {
		if ruleMatches(&rules[i], a, own) {
			return own, true
		}
	}
	if !c.Equivalent {
		return nil, false
	}
	for i := range rules {
		for j := range a.Row.Versions {
			if v := &a.Row.Versions[j]; v != own && ruleMatches(&rules[i], a, v) {
				return v, true
			}
		}
	}
	return nil, false
}

func ruleMatches(r *admissionregistrationv1.NamedRuleWithOperations, a *admission.Attributes, v *object.Version) bool {
	has := func(list []string, s string) bool { return slices.Contains(list, "*") || slices.Contains(list, s) }
	if !slices.Contains(r.Operations, admissionregistrationv1.OperationAll) && !slices.Contains(r.Operations, admissionregistrationv1.OperationType(a.Operation)) {
		return false
	}
	if !has(r.APIGroups, v.Group) || !has(r.APIVersions, v.Version) || !resourceMatches(r.Resources, a.Row.Resource, a.Subresource) {
		return false
	}
	if r.Scope != nil && *r.Scope != admissionregistrationv1.AllScopes {
		if namespaced := a.Row.Scope == object.Namespaced; namespaced != (*r.Scope == admissionregistrationv1.NamespacedScope) {
			return false
		}
	}
	return len(r.ResourceNames) == 0 || slices.Contains(r.ResourceNames, nameOf(a))
}

func nameOf(a *admission.Attributes) string {
	if a.Name == "" && a.Object != nil {
		return a.Object.GetName()
	}
	return a.Name
}

// resourceMatches knows "pods", "pods/status", "pods/*", "*/status", "*" (resources alone) and "*/*".
func resourceMatches(list []string, resource, sub string) bool {
	for _, r := range list {
		name, part, both := strings.Cut(r, "/")
		switch {
		case name != "*" && name != resource:
		case !both && sub == "", both && part == "*", both && part == sub:
			return true
		}
	}
	return false
}

// Exempt are the writes that no policy sees.
func Exempt(a *admission.Attributes) bool {
	switch a.GVR.Group {
	case "admissionregistration.k8s.io":
		return true
	case "authentication.k8s.io", "authorization.k8s.io":
		return a.Row.Virtual
	}
	return false
}
