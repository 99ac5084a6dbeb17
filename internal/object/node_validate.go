package object

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"hyperkube/internal/object/podspec"
)

type errorList = field.ErrorList

func validateNode(n *corev1.Node) field.ErrorList {
	errs := validateTaints(n.Spec.Taints, metadataPath.Child("taints")) // where clients know it
	at := specPath.Child("podCIDRs")
	if len(n.Spec.PodCIDRs) > 2 {
		errs = append(errs, field.Invalid(at, n.Spec.PodCIDRs, "may specify no more than one CIDR for each IP family"))
	}
	for i, cidr := range n.Spec.PodCIDRs {
		errs = append(errs, validation.IsValidCIDRForLegacyField(at.Index(i), cidr, false, nil)...)
	}
	return append(errs, validateNodeStatus(n)...)
}

func validateNodeStatus(n *corev1.Node) field.ErrorList {
	var errs field.ErrorList
	seen := sets.Set[corev1.NodeAddress]{}
	for i, a := range n.Status.Addresses {
		if seen.Has(a) {
			errs = append(errs, field.Duplicate(statusPath.Child("addresses").Index(i), a))
		}
		seen.Insert(a)
	}
	for name, list := range inOrder(named("capacity", n.Status.Capacity), named("allocatable", n.Status.Allocatable)) {
		for _, resource := range slices.Sorted(maps.Keys(list)) {
			errs = append(errs, podspec.ValidateQuantity(resource, list[resource], statusPath.Child(name).Key(string(resource)))...)
		}
	}
	return errs
}

func validateTaints(taints []corev1.Taint, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	seen := map[corev1.TaintEffect]sets.Set[string]{}
	for i, t := range taints {
		p := at.Index(i)
		errs = append(errs, metavalidation.ValidateLabelName(t.Key, p.Child("key"))...)
		errs = append(errs, check(p.Child("value"), t.Value, validation.IsValidLabelValue(t.Value))...)
		errs = append(errs, requiredOneOf(p.Child("effect"), t.Effect,
			corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute)...)
		if seen[t.Effect] == nil {
			seen[t.Effect] = sets.Set[string]{}
		}
		if seen[t.Effect].Has(t.Key) {
			d := field.Duplicate(p, t)
			d.Detail = "taints must be unique by key and effect pair"
			errs = append(errs, d)
		}
		seen[t.Effect].Insert(t.Key)
	}
	return errs
}

func validateNodeUpdate(n, old *corev1.Node) field.ErrorList {
	var errs field.ErrorList
	next := n.Spec.DeepCopy()
	next.Taints, next.Unschedulable = old.Spec.Taints, old.Spec.Unschedulable
	if len(old.Spec.PodCIDRs) > 0 && !apiequality.Semantic.DeepEqual(n.Spec.PodCIDRs, old.Spec.PodCIDRs) {
		errs = append(errs, field.Forbidden(specPath.Child("podCIDRs"), "node updates may not change podCIDR except from \"\" to valid"))
	}
	next.PodCIDR, next.PodCIDRs = old.Spec.PodCIDR, old.Spec.PodCIDRs
	if old.Spec.ProviderID != "" && n.Spec.ProviderID != old.Spec.ProviderID {
		errs = append(errs, field.Forbidden(specPath.Child("providerID"), "node updates may not change providerID except from \"\" to valid"))
	}
	next.ProviderID, next.ConfigSource, next.PodPreemptionPolicy = old.Spec.ProviderID, old.Spec.ConfigSource, old.Spec.PodPreemptionPolicy
	if !apiequality.Semantic.DeepEqual(*next, old.Spec) {
		errs = append(errs, field.Forbidden(field.NewPath(""), "node updates may only change labels, taints, or capacity"))
	}
	return errs
}
