package object

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"

	"hyperkube/internal/object/goform"
	"hyperkube/internal/object/podspec"
)

const avoidPods = corev1.PreferAvoidPodsAnnotationKey

// validateNode judges new and changed nodes; old is nil for a new one. Addresses are judged when they are changed alone.
func validateNode(n, old *corev1.Node) field.ErrorList {
	errs := validateAvoidPods(n.Annotations)
	errs = append(errs, validateTaints(n.Spec.Taints, metadataPath.Child("taints"))...) // where clients know it
	errs = append(errs, validateNodeStatus(n)...)
	var before []string
	if old != nil {
		before = old.Spec.PodCIDRs
	}
	at, list := specPath.Child("podCIDRs"), n.Spec.PodCIDRs
	for i, cidr := range list {
		errs = append(errs, validation.IsValidCIDRForLegacyField(at.Index(i), cidr, true, before)...)
	}
	if len(list) < 2 {
		return errs
	}
	dual, err := netutils.IsDualStackCIDRStrings(list)
	if err != nil {
		errs = append(errs, field.InternalError(at, fmt.Errorf("invalid PodCIDRs. failed to check with dual stack with error:%w", err)))
	}
	if !dual || len(list) > 2 {
		errs = append(errs, field.Invalid(at, list, "may specify no more than one CIDR for each IP family"))
	}
	return errs
}

// validateAvoidPods judges the annotation by which a node tells of controllers whose pods had better run elsewhere.
func validateAvoidPods(annotations map[string]string) field.ErrorList {
	text := annotations[avoidPods]
	if text == "" {
		return nil
	}
	var list corev1.AvoidPods
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return field.ErrorList{field.Invalid(metadataPath.Child("annotations", "AvoidPods"), avoidPods, err.Error())}
	}
	var errs field.ErrorList
	at := metadataPath.Child("annotations", avoidPods)
	for i, one := range list.PreferAvoidPods {
		at := at.Index(i).Child("PodSignature")
		if c := one.PodSignature.PodController; c == nil {
			errs = append(errs, field.Required(at, ""))
		} else if !deref(c.Controller, false) {
			errs = append(errs, field.Invalid(at.Child("PodController", "Controller"), deref(c.Controller, false), "must point to a controller"))
		}
	}
	return errs
}

func validateNodeStatus(n *corev1.Node) field.ErrorList {
	var errs field.ErrorList
	for name, list := range inOrder(named("capacity", n.Status.Capacity), named("allocatable", n.Status.Allocatable)) {
		for _, resource := range slices.Sorted(maps.Keys(list)) {
			errs = append(errs, podspec.ValidateQuantity(resource, list[resource], statusPath.Child(name, string(resource)))...)
		}
	}
	return append(errs, validateFeatures(n.Status.DeclaredFeatures, statusPath.Child("declaredFeatures"))...)
}

func validateNodeStatusUpdate(n, _ *corev1.Node) field.ErrorList {
	errs := validateNodeStatus(n)
	seen := sets.Set[corev1.NodeAddress]{}
	for i, a := range n.Status.Addresses {
		if seen.Has(a) {
			errs = append(errs, field.Duplicate(statusPath.Child("addresses").Index(i), goform.Of(a)))
		}
		seen.Insert(a)
	}
	return errs
}

var featureName = regexp.MustCompile(`^[A-Z][a-zA-Z0-9]*(/[a-zA-Z0-9]+)*$`)

// validateFeatures judges the features that a node says it has (KEP-5328).
func validateFeatures(list []string, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, f := range list {
		if i > 0 && f == list[i-1] {
			errs = append(errs, field.Duplicate(at.Index(i), f))
		} else if i > 0 && f < list[i-1] {
			errs = append(errs, field.Invalid(at.Index(i), f, "list must be sorted alphabetically"))
		}
		const longest = 253
		if len(f) > longest {
			errs = append(errs, field.Invalid(at.Index(i), f, fmt.Sprintf("invalid feature name %q: %s", f, validation.MaxLenError(longest))))
		} else if !featureName.MatchString(f) {
			errs = append(errs, field.Invalid(at.Index(i), f, fmt.Sprintf("invalid feature name %q: must start with an UpperCamelCase segment, "+
				"with subsequent segments separated by '/' (e.g., MyFeature or MyFeature/mySubFeature), and contain only alphanumeric characters and slashes", f)))
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
			d := field.Duplicate(p, goform.Of(t))
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
	if at := specPath.Child("providerID"); old.Spec.ProviderID != "" && n.Spec.ProviderID == "" {
		errs = append(errs, field.Invalid(at, nil, "field cannot be cleared once set"))
	} else if old.Spec.ProviderID != "" && n.Spec.ProviderID != old.Spec.ProviderID {
		errs = append(errs, field.Invalid(at, nil, "field cannot be modified once set"))
	}
	if n.Spec.DoNotUseExternalID != old.Spec.DoNotUseExternalID {
		errs = append(errs, field.Forbidden(specPath.Child("externalID"), "may not be updated"))
	}
	next.ProviderID, next.DoNotUseExternalID, next.PodPreemptionPolicy = old.Spec.ProviderID, old.Spec.DoNotUseExternalID, old.Spec.PodPreemptionPolicy
	if !apiequality.Semantic.DeepEqual(*next, old.Spec) {
		errs = append(errs, field.Forbidden(field.NewPath(""), "node updates may only change labels, taints, or capacity"))
	}
	return errs
}
