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
		mergeKeys(c.LabelSelector, c.MatchLabelKeys, metav1.LabelSelectorOpIn, podLabels)
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
	mergeKeys(t.LabelSelector, t.MatchLabelKeys, metav1.LabelSelectorOpIn, podLabels)
	mergeKeys(t.LabelSelector, t.MismatchLabelKeys, metav1.LabelSelectorOpNotIn, podLabels)
}

func mergeKeys(s *metav1.LabelSelector, keys []string, op metav1.LabelSelectorOperator, podLabels map[string]string) {
	if s == nil {
		return
	}
	for _, key := range keys {
		value, ok := podLabels[key]
		r := mergedRequirement(key, op, value)
		if ok && !slices.ContainsFunc(s.MatchExpressions, func(e metav1.LabelSelectorRequirement) bool { return sameRequirement(e, r) }) {
			s.MatchExpressions = append(s.MatchExpressions, r)
		}
	}
}

// ValidateSpreadKeys refuses label keys of a new pod's spread constraints that its selectors have besides what was merged into them.
func ValidateSpreadKeys(spec *corev1.PodSpec, podLabels map[string]string, at *field.Path) field.ErrorList {
	var out field.ErrorList
	for i := range spec.TopologySpreadConstraints {
		c := &spec.TopologySpreadConstraints[i]
		if c.LabelSelector == nil {
			continue
		}
		for j, key := range c.MatchLabelKeys {
			merged := mergedRequirement(key, metav1.LabelSelectorOpIn, podLabels[key])
			_, twice := c.LabelSelector.MatchLabels[key]
			for _, e := range c.LabelSelector.MatchExpressions {
				twice = twice || e.Key == key && !sameRequirement(e, merged)
			}
			if twice {
				out = append(out, field.Invalid(at.Child("topologySpreadConstraints").Index(i).Index(j), key, "exists in both matchLabelKeys and labelSelector"))
			}
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
