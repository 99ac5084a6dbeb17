package podspec

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// MergeLabelKeys writes the label keys of affinity terms and spread constraints (matchLabelKeys,
// mismatchLabelKeys) into their selectors, with the values that the pod has. It is done once, when the
// pod is made (KEP-3243, KEP-3633).
func MergeLabelKeys(spec *corev1.PodSpec, podLabels map[string]string) {
	if a := spec.Affinity; a != nil {
		if pa := a.PodAffinity; pa != nil {
			mergeTerms(pa.RequiredDuringSchedulingIgnoredDuringExecution, pa.PreferredDuringSchedulingIgnoredDuringExecution, podLabels)
		}
		if pa := a.PodAntiAffinity; pa != nil {
			mergeTerms(pa.RequiredDuringSchedulingIgnoredDuringExecution, pa.PreferredDuringSchedulingIgnoredDuringExecution, podLabels)
		}
	}
	for i := range spec.TopologySpreadConstraints {
		c := &spec.TopologySpreadConstraints[i]
		mergeKeys(c.LabelSelector, c.MatchLabelKeys, metav1.LabelSelectorOpIn, podLabels, true)
	}
}

func mergeTerms(required []corev1.PodAffinityTerm, preferred []corev1.WeightedPodAffinityTerm, podLabels map[string]string) {
	for i := range required {
		mergeTerm(&required[i], podLabels)
	}
	for i := range preferred {
		mergeTerm(&preferred[i].PodAffinityTerm, podLabels)
	}
}

func mergeTerm(t *corev1.PodAffinityTerm, podLabels map[string]string) {
	mergeKeys(t.LabelSelector, t.MatchLabelKeys, metav1.LabelSelectorOpIn, podLabels, false)
	mergeKeys(t.LabelSelector, t.MismatchLabelKeys, metav1.LabelSelectorOpNotIn, podLabels, false)
}

// mergeKeys adds to a selector what keys ask for; with once not what it asks for already.
func mergeKeys(s *metav1.LabelSelector, keys []string, op metav1.LabelSelectorOperator, podLabels map[string]string, once bool) {
	if s == nil {
		return
	}
	for _, key := range keys {
		value, ok := podLabels[key]
		r := mergedRequirement(key, op, value)
		if ok && !(once && slices.ContainsFunc(s.MatchExpressions, func(e metav1.LabelSelectorRequirement) bool { return sameRequirement(e, r) })) {
			s.MatchExpressions = append(s.MatchExpressions, r)
		}
	}
}

// ValidateMatchedKeys refuses label keys of a new pod's affinity terms and spread constraints that their selectors have besides what was
// merged into them.
func ValidateMatchedKeys(spec *corev1.PodSpec, podLabels map[string]string, at *field.Path) field.ErrorList {
	var out field.ErrorList
	terms := func(required []corev1.PodAffinityTerm, preferred []corev1.WeightedPodAffinityTerm, at *field.Path) {
		for i := range required {
			out = append(out, termKeysTwice(&required[i], podLabels, at.Child("requiredDuringSchedulingIgnoredDuringExecution").Index(i))...)
		}
		for i := range preferred {
			out = append(out, termKeysTwice(&preferred[i].PodAffinityTerm, podLabels, at.Child("preferredDuringSchedulingIgnoredDuringExecution").Index(i))...)
		}
	}
	if a := spec.Affinity; a != nil {
		if x := a.PodAffinity; x != nil {
			terms(x.RequiredDuringSchedulingIgnoredDuringExecution, x.PreferredDuringSchedulingIgnoredDuringExecution, at.Child("affinity", "podAffinity"))
		}
		if x := a.PodAntiAffinity; x != nil {
			terms(x.RequiredDuringSchedulingIgnoredDuringExecution, x.PreferredDuringSchedulingIgnoredDuringExecution, at.Child("affinity", "podAntiAffinity"))
		}
	}
	for i := range spec.TopologySpreadConstraints {
		c := &spec.TopologySpreadConstraints[i]
		out = append(out, keysTwice(c.LabelSelector, c.MatchLabelKeys, metav1.LabelSelectorOpIn, "matchLabelKeys", podLabels, at.Child("topologySpreadConstraints").Index(i))...)
	}
	return out
}

func termKeysTwice(t *corev1.PodAffinityTerm, podLabels map[string]string, at *field.Path) field.ErrorList {
	out := keysTwice(t.LabelSelector, t.MatchLabelKeys, metav1.LabelSelectorOpIn, "matchLabelKeys", podLabels, at)
	return append(out, keysTwice(t.LabelSelector, t.MismatchLabelKeys, metav1.LabelSelectorOpNotIn, "mismatchLabelKeys", podLabels, at)...)
}

func keysTwice(s *metav1.LabelSelector, keys []string, op metav1.LabelSelectorOperator, name string, podLabels map[string]string, at *field.Path) field.ErrorList {
	if s == nil {
		return nil
	}
	var out field.ErrorList
	for j, key := range keys {
		merged := mergedRequirement(key, op, podLabels[key])
		_, twice := s.MatchLabels[key]
		found := false // what was merged, which is there once
		for _, e := range s.MatchExpressions {
			if e.Key == key {
				twice = twice || found || !sameRequirement(e, merged)
				found = true
			}
		}
		if twice {
			out = append(out, field.Invalid(at.Index(j), key, "exists in both "+name+" and labelSelector"))
		}
	}
	return out
}

func mergedRequirement(key string, op metav1.LabelSelectorOperator, value string) metav1.LabelSelectorRequirement {
	return metav1.LabelSelectorRequirement{Key: key, Operator: op, Values: []string{value}}
}

func sameRequirement(a, b metav1.LabelSelectorRequirement) bool {
	return a.Key == b.Key && a.Operator == b.Operator && slices.Equal(a.Values, b.Values)
}
