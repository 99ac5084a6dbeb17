package quota

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"hyperkube/internal/object"
)

// InScope says whether an object falls under the scopes of a quota. A quota without scopes is for every object.
func InScope(q *corev1.ResourceQuota, obj object.Object) bool {
	for _, r := range requirements(q) {
		if !Matches(r, obj) {
			return false
		}
	}
	return true
}

// requirements are the scopes of both ways in which a quota may name them.
func requirements(q *corev1.ResourceQuota) []corev1.ScopedResourceSelectorRequirement {
	var all []corev1.ScopedResourceSelectorRequirement
	for _, s := range q.Spec.Scopes {
		all = append(all, corev1.ScopedResourceSelectorRequirement{ScopeName: s, Operator: corev1.ScopeSelectorOpExists})
	}
	if q.Spec.ScopeSelector != nil {
		all = append(all, q.Spec.ScopeSelector.MatchExpressions...)
	}
	return all
}

// Covers says whether a quota has the scope that a requirement speaks of, in a form that the object matches.
func Covers(q *corev1.ResourceQuota, r corev1.ScopedResourceSelectorRequirement, obj object.Object) bool {
	return slices.ContainsFunc(requirements(q), func(own corev1.ScopedResourceSelectorRequirement) bool {
		return own.ScopeName == r.ScopeName && Matches(own, obj)
	})
}

// Matches judges one scope. Scopes of pods match no other objects, and those of claims neither.
func Matches(r corev1.ScopedResourceSelectorRequirement, obj object.Object) bool {
	switch o := obj.(type) {
	case *corev1.Pod:
		return podMatches(r, o)
	case *corev1.PersistentVolumeClaim:
		if r.ScopeName != corev1.ResourceQuotaScopeVolumeAttributesClass {
			return false
		}
		return anyMatches(r, attributesClasses(o))
	}
	return false
}

func podMatches(r corev1.ScopedResourceSelectorRequirement, p *corev1.Pod) bool {
	terminating := p.Spec.ActiveDeadlineSeconds != nil && *p.Spec.ActiveDeadlineSeconds >= 0
	switch r.ScopeName {
	case corev1.ResourceQuotaScopeTerminating:
		return terminating
	case corev1.ResourceQuotaScopeNotTerminating:
		return !terminating
	case corev1.ResourceQuotaScopeBestEffort:
		return bestEffort(p)
	case corev1.ResourceQuotaScopeNotBestEffort:
		return !bestEffort(p)
	case corev1.ResourceQuotaScopeCrossNamespacePodAffinity:
		return crossesNamespaces(p)
	case corev1.ResourceQuotaScopePriorityClass:
		var names []string
		if p.Spec.PriorityClassName != "" {
			names = []string{p.Spec.PriorityClassName}
		}
		return anyMatches(r, names)
	}
	return false
}

func anyMatches(r corev1.ScopedResourceSelectorRequirement, names []string) bool {
	listed := slices.ContainsFunc(names, func(n string) bool { return slices.Contains(r.Values, n) })
	switch r.Operator {
	case corev1.ScopeSelectorOpIn:
		return listed
	case corev1.ScopeSelectorOpNotIn:
		return !listed
	case corev1.ScopeSelectorOpExists:
		return len(names) > 0
	case corev1.ScopeSelectorOpDoesNotExist:
		return len(names) == 0
	}
	return false
}

func attributesClasses(c *corev1.PersistentVolumeClaim) []string {
	var names []string
	for _, n := range []*string{c.Spec.VolumeAttributesClassName, c.Status.CurrentVolumeAttributesClassName} {
		if n != nil && *n != "" {
			names = append(names, *n)
		}
	}
	return names
}

// crossesNamespaces says whether a pod's affinity looks at pods of other namespaces.
func crossesNamespaces(p *corev1.Pod) bool {
	if p.Spec.Affinity == nil {
		return false
	}
	var terms []corev1.PodAffinityTerm
	add := func(required []corev1.PodAffinityTerm, preferred []corev1.WeightedPodAffinityTerm) {
		terms = append(terms, required...)
		for _, w := range preferred {
			terms = append(terms, w.PodAffinityTerm)
		}
	}
	if a := p.Spec.Affinity.PodAffinity; a != nil {
		add(a.RequiredDuringSchedulingIgnoredDuringExecution, a.PreferredDuringSchedulingIgnoredDuringExecution)
	}
	if a := p.Spec.Affinity.PodAntiAffinity; a != nil {
		add(a.RequiredDuringSchedulingIgnoredDuringExecution, a.PreferredDuringSchedulingIgnoredDuringExecution)
	}
	return slices.ContainsFunc(terms, func(t corev1.PodAffinityTerm) bool { return len(t.Namespaces) > 0 || t.NamespaceSelector != nil })
}
