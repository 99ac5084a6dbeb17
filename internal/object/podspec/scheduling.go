package podspec

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// ValidateTolerations judges which taints a pod puts up with.
func ValidateTolerations(list []corev1.Toleration, at *field.Path) errs {
	var out errs
	for i, t := range list {
		p := at.Index(i)
		if t.Key != "" {
			out = append(out, metavalidation.ValidateLabelName(t.Key, p.Child("key"))...)
		} else if t.Operator != corev1.TolerationOpExists {
			out = append(out, field.Invalid(p.Child("operator"), t.Operator,
				"operator must be Exists when `key` is empty, which means \"match all values and all keys\""))
		}
		if t.TolerationSeconds != nil && t.Effect != corev1.TaintEffectNoExecute {
			out = append(out, field.Invalid(p.Child("effect"), t.Effect, "effect must be 'NoExecute' when `tolerationSeconds` is set"))
		}
		switch t.Operator {
		case corev1.TolerationOpEqual, "":
			if bad := validation.IsValidLabelValue(t.Value); len(bad) > 0 {
				out = append(out, field.Invalid(p.Child("operator"), t.Value, bad[0]))
			}
		case corev1.TolerationOpExists:
			if t.Value != "" {
				out = append(out, field.Invalid(p.Child("operator"), t.Value, "value must be empty when `operator` is 'Exists'"))
			}
		case corev1.TolerationOpLt, corev1.TolerationOpGt: // of a feature that is off
			out = append(out, field.NotSupported(p.Child("operator"), t.Operator,
				[]corev1.TolerationOperator{corev1.TolerationOpEqual, corev1.TolerationOpExists, corev1.TolerationOpLt, corev1.TolerationOpGt}))
		default:
			out = append(out, field.NotSupported(p.Child("operator"), t.Operator,
				[]corev1.TolerationOperator{corev1.TolerationOpEqual, corev1.TolerationOpExists}))
		}
		if t.Effect != "" {
			out = append(out, validateEffect(t.Effect, p.Child("effect"))...)
		}
	}
	return out
}

func validateEffect(e corev1.TaintEffect, at *field.Path) errs {
	return oneOf(at, e, corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute)
}

func validateAffinity(a *corev1.Affinity, at *field.Path) errs {
	if a == nil {
		return nil
	}
	var out errs
	if n := a.NodeAffinity; n != nil {
		p := at.Child("nodeAffinity")
		if r := n.RequiredDuringSchedulingIgnoredDuringExecution; r != nil {
			out = append(out, ValidateNodeSelector(r, p.Child("requiredDuringSchedulingIgnoredDuringExecution"))...)
		}
		q := p.Child("preferredDuringSchedulingIgnoredDuringExecution")
		for i := range n.PreferredDuringSchedulingIgnoredDuringExecution {
			t := &n.PreferredDuringSchedulingIgnoredDuringExecution[i]
			out = append(out, validateWeight(t.Weight, q.Index(i).Child("weight"))...)
			out = append(out, validateNodeTerm(&t.Preference, q.Index(i).Child("preference"))...)
		}
	}
	if x := a.PodAffinity; x != nil {
		out = append(out, validatePodTerms(x.RequiredDuringSchedulingIgnoredDuringExecution,
			x.PreferredDuringSchedulingIgnoredDuringExecution, at.Child("podAffinity"))...)
	}
	if x := a.PodAntiAffinity; x != nil {
		out = append(out, validatePodTerms(x.RequiredDuringSchedulingIgnoredDuringExecution,
			x.PreferredDuringSchedulingIgnoredDuringExecution, at.Child("podAntiAffinity"))...)
	}
	return out
}

func validateWeight(w int32, at *field.Path) errs {
	if w < 1 || w > 100 {
		return errs{field.Invalid(at, w, "must be in the range 1-100")}
	}
	return nil
}

// ValidateNodeSelector judges a selector of nodes by labels and fields.
func ValidateNodeSelector(s *corev1.NodeSelector, at *field.Path) errs {
	p := at.Child("nodeSelectorTerms")
	if len(s.NodeSelectorTerms) == 0 {
		return errs{field.Required(p, "must have at least one node selector term")}
	}
	var out errs
	for i := range s.NodeSelectorTerms {
		out = append(out, validateNodeTerm(&s.NodeSelectorTerms[i], p.Index(i))...)
	}
	return out
}

// ValidateNewNodeValues wants the values that nodes are required to have to be those of labels, unless the old selector has others already.
func ValidateNewNodeValues(s, old *corev1.NodeSelector, at *field.Path) errs {
	if old != nil && len(nodeValues(old, at)) > 0 {
		return nil
	}
	return nodeValues(s, at)
}

func nodeValues(s *corev1.NodeSelector, at *field.Path) errs {
	if s == nil {
		return nil
	}
	var out errs
	for i := range s.NodeSelectorTerms {
		for k, e := range s.NodeSelectorTerms[i].MatchExpressions {
			p := at.Child("nodeSelectorTerms").Index(i).Child("matchExpressions").Index(k).Child("values")
			for j, v := range e.Values {
				out = append(out, invalid(p.Index(j), v, validation.IsValidLabelValue(v))...)
			}
		}
	}
	return out
}

func validateNodeTerm(t *corev1.NodeSelectorTerm, at *field.Path) errs {
	var out errs
	for i, r := range t.MatchExpressions {
		p := at.Child("matchExpressions").Index(i)
		out = append(out, validateNodeRequirement(r, p)...)
		out = append(out, metavalidation.ValidateLabelName(r.Key, p.Child("key"))...)
	}
	for i, r := range t.MatchFields {
		p := at.Child("matchFields").Index(i)
		if r.Operator != corev1.NodeSelectorOpIn && r.Operator != corev1.NodeSelectorOpNotIn {
			out = append(out, field.Invalid(p.Child("operator"), r.Operator, "not a valid selector operator"))
		} else if len(r.Values) != 1 {
			out = append(out, field.Required(p.Child("values"), "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"))
		}
		if r.Key != "metadata.name" {
			out = append(out, field.Invalid(p.Child("key"), r.Key, "not a valid field selector key"))
			continue
		}
		for j, v := range r.Values {
			out = append(out, invalid(p.Child("values").Index(j), v, subdomain(v))...)
		}
	}
	return out
}

func validateNodeRequirement(r corev1.NodeSelectorRequirement, at *field.Path) errs {
	p := at.Child("values")
	switch r.Operator {
	case corev1.NodeSelectorOpIn, corev1.NodeSelectorOpNotIn:
		if len(r.Values) == 0 {
			return errs{field.Required(p, "must be specified when `operator` is 'In' or 'NotIn'")}
		}
	case corev1.NodeSelectorOpExists, corev1.NodeSelectorOpDoesNotExist:
		if len(r.Values) > 0 {
			return errs{field.Forbidden(p, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")}
		}
	case corev1.NodeSelectorOpGt, corev1.NodeSelectorOpLt:
		if len(r.Values) != 1 {
			return errs{field.Required(p, "must be specified single value when `operator` is 'Lt' or 'Gt'")}
		}
	default:
		return errs{field.Invalid(at.Child("operator"), r.Operator, "not a valid selector operator")}
	}
	return nil
}

func validatePodTerms(required []corev1.PodAffinityTerm, preferred []corev1.WeightedPodAffinityTerm, at *field.Path) errs {
	var out errs
	for i := range required {
		out = append(out, validatePodTerm(&required[i], at.Child("requiredDuringSchedulingIgnoredDuringExecution").Index(i))...)
	}
	for i := range preferred {
		p := at.Child("preferredDuringSchedulingIgnoredDuringExecution").Index(i)
		out = append(out, validateWeight(preferred[i].Weight, p.Child("weight"))...)
		out = append(out, validatePodTerm(&preferred[i].PodAffinityTerm, p.Child("podAffinityTerm"))...)
	}
	return out
}

func validatePodTerm(t *corev1.PodAffinityTerm, at *field.Path) errs {
	out := labelSelector(t.LabelSelector, at.Child("labelSelector"))
	out = append(out, labelSelector(t.NamespaceSelector, at.Child("namespaceSelector"))...)
	for _, ns := range t.Namespaces {
		out = append(out, invalid(at.Child("namespace"), ns, validation.IsDNS1123Label(ns))...)
	}
	out = append(out, validateLabelKeys(t.MatchLabelKeys, t.LabelSelector, at.Child("matchLabelKeys"))...)
	out = append(out, validateLabelKeys(t.MismatchLabelKeys, t.LabelSelector, at.Child("mismatchLabelKeys"))...)
	mismatch := sets.New(t.MismatchLabelKeys...)
	for i, k := range t.MatchLabelKeys {
		if mismatch.Has(k) {
			out = append(out, field.Invalid(at.Child("matchLabelKeys").Index(i), k, "exists in both matchLabelKeys and mismatchLabelKeys"))
		}
	}
	if t.TopologyKey == "" {
		out = append(out, field.Required(at.Child("topologyKey"), "can not be empty"))
	}
	return append(out, metavalidation.ValidateLabelName(t.TopologyKey, at.Child("topologyKey"))...)
}

func validateLabelKeys(keys []string, selector *metav1.LabelSelector, at *field.Path) errs {
	if len(keys) == 0 {
		return nil
	}
	if selector == nil {
		return errs{field.Forbidden(at, "must not be specified when labelSelector is not set")}
	}
	var out errs
	for i, k := range keys {
		out = append(out, metavalidation.ValidateLabelName(k, at.Index(i))...)
	}
	return out
}

func validateSpread(list []corev1.TopologySpreadConstraint, at *field.Path) errs {
	var out errs
	for i := range list {
		c, p := &list[i], at.Index(i)
		if c.MaxSkew <= 0 {
			out = append(out, field.Invalid(p.Child("maxSkew"), c.MaxSkew, "must be greater than zero"))
		}
		if c.TopologyKey == "" {
			out = append(out, field.Required(p.Child("topologyKey"), "can not be empty"))
		}
		out = append(out, oneOf(p.Child("whenUnsatisfiable"), c.WhenUnsatisfiable, corev1.DoNotSchedule, corev1.ScheduleAnyway)...)
		if slices.ContainsFunc(list[i+1:], func(o corev1.TopologySpreadConstraint) bool {
			return o.TopologyKey == c.TopologyKey && o.WhenUnsatisfiable == c.WhenUnsatisfiable
		}) {
			out = append(out, field.Duplicate(p.Child("{topologyKey, whenUnsatisfiable}"), fmt.Sprintf("{%v, %v}", c.TopologyKey, c.WhenUnsatisfiable)))
		}
		if d := c.MinDomains; d != nil {
			if *d <= 0 {
				out = append(out, field.Invalid(p.Child("minDomains"), *d, "must be greater than zero"))
			}
			if c.WhenUnsatisfiable != corev1.DoNotSchedule {
				out = append(out, field.Invalid(p.Child("minDomains"), *d, fmt.Sprintf("can only use minDomains if whenUnsatisfiable=%s, not %s", corev1.DoNotSchedule, c.WhenUnsatisfiable)))
			}
		}
		if n := c.NodeAffinityPolicy; n != nil {
			out = append(out, oneOf(p.Child("nodeAffinityPolicy"), *n, corev1.NodeInclusionPolicyHonor, corev1.NodeInclusionPolicyIgnore)...)
		}
		if n := c.NodeTaintsPolicy; n != nil {
			out = append(out, oneOf(p.Child("nodeTaintsPolicy"), *n, corev1.NodeInclusionPolicyHonor, corev1.NodeInclusionPolicyIgnore)...)
		}
		out = append(out, labelSelector(c.LabelSelector, p.Child("labelSelector"))...)
		out = append(out, validateLabelKeys(c.MatchLabelKeys, c.LabelSelector, p.Child("matchLabelKeys"))...)
	}
	return out
}
