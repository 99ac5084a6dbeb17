package crd

import (
	"fmt"
	"slices"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// taken are the names that others in a group use.
type taken struct{ resources, kinds map[string]bool }

func (t taken) add(n apiextensionsv1.CustomResourceDefinitionNames) {
	for _, name := range append([]string{n.Plural, n.Singular}, n.ShortNames...) {
		t.resources[name] = name != ""
	}
	for _, name := range []string{n.Kind, n.ListKind} {
		t.kinds[name] = name != ""
	}
}

// accept gives the names of a definition that nobody else uses, and what is in the way of the others. A name that was accepted
// before stays while the new one is taken.
func accept(c *apiextensionsv1.CustomResourceDefinition, others taken) (apiextensionsv1.CustomResourceDefinitionNames, apiextensionsv1.CustomResourceDefinitionCondition) {
	want, got := c.Spec.Names, c.Status.AcceptedNames
	cond := condition(apiextensionsv1.NamesAccepted, apiextensionsv1.ConditionTrue, "NoConflicts", "no conflicts found")
	refuse := func(reason, name string) {
		cond = condition(apiextensionsv1.NamesAccepted, apiextensionsv1.ConditionFalse, reason, fmt.Sprintf("%q is already in use", name))
	}
	check := func(all map[string]bool, reason, name string, into *string) {
		if all[name] {
			refuse(reason, name)
			return
		}
		*into = name
	}
	check(others.resources, "PluralConflict", want.Plural, &got.Plural)
	check(others.resources, "SingularConflict", want.Singular, &got.Singular)
	if i := slices.IndexFunc(want.ShortNames, func(s string) bool { return others.resources[s] }); i >= 0 {
		refuse("ShortNamesConflict", want.ShortNames[i])
	} else {
		got.ShortNames = want.ShortNames
	}
	check(others.kinds, "KindConflict", want.Kind, &got.Kind)
	check(others.kinds, "ListKindConflict", want.ListKind, &got.ListKind)
	got.Categories = want.Categories
	return got, cond
}

func condition(t apiextensionsv1.CustomResourceDefinitionConditionType, status apiextensionsv1.ConditionStatus, reason, message string) apiextensionsv1.CustomResourceDefinitionCondition {
	return apiextensionsv1.CustomResourceDefinitionCondition{Type: t, Status: status, Reason: reason, Message: message}
}

// set puts a condition in. Its time changes only with its status.
func set(c *apiextensionsv1.CustomResourceDefinition, cond apiextensionsv1.CustomResourceDefinitionCondition) {
	cond.LastTransitionTime = metav1.NewTime(time.Now().Truncate(time.Second))
	have := find(c, cond.Type)
	switch {
	case have == nil:
		c.Status.Conditions = append(c.Status.Conditions, cond)
	case have.Status == cond.Status:
		have.Reason, have.Message = cond.Reason, cond.Message
	default:
		*have = cond
	}
}

func find(c *apiextensionsv1.CustomResourceDefinition, t apiextensionsv1.CustomResourceDefinitionConditionType) *apiextensionsv1.CustomResourceDefinitionCondition {
	for i := range c.Status.Conditions {
		if c.Status.Conditions[i].Type == t {
			return &c.Status.Conditions[i]
		}
	}
	return nil
}

func isTrue(c *apiextensionsv1.CustomResourceDefinition, t apiextensionsv1.CustomResourceDefinitionConditionType) bool {
	cond := find(c, t)
	return cond != nil && cond.Status == apiextensionsv1.ConditionTrue
}
