package object

import (
	"fmt"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"hyperkube/internal/object/podspec"
)

// What the kinds with a pod template have in common.

func setDefault[T comparable](p *T, value T) {
	var zero T
	if *p == zero {
		*p = value
	}
}

func setDefaultPtr[T any](p **T, value T) {
	if *p == nil {
		*p = &value
	}
}

// number is one whole number of a specification or status and the path to it.
type number struct {
	at    *field.Path
	value int64
}

func nonNegative(all ...number) field.ErrorList {
	var errs field.ErrorList
	for _, n := range all {
		errs = append(errs, apivalidation.ValidateNonnegativeField(n.value, n.at)...)
	}
	return errs
}

// num makes a number of an optional field; nil counts as zero.
func num[T int32 | int64](at *field.Path, p *T) number {
	if p == nil {
		return number{at, 0}
	}
	return number{at, int64(*p)}
}

// count is a number of pods by its name in a status.
type count struct {
	name string
	n    int32
}

// counts judges the pod counts of a status: none negative, and none above the first.
func counts(total int32, parts ...count) field.ErrorList {
	errs := nonNegative(number{statusPath.Child("replicas"), int64(total)})
	for _, p := range parts {
		errs = append(errs, nonNegative(number{statusPath.Child(p.name), int64(p.n)})...)
	}
	for _, p := range parts {
		if p.n > total {
			errs = append(errs, field.Invalid(statusPath.Child(p.name), p.n, "cannot be greater than status.replicas"))
		}
	}
	return errs
}

// replicaCounts judges the counts in the status of a replica set or replication controller.
func replicaCounts(total, labeled, ready, available int32) field.ErrorList {
	errs := counts(total, count{"fullyLabeledReplicas", labeled}, count{"readyReplicas", ready}, count{"availableReplicas", available})
	if available > ready {
		errs = append(errs, field.Invalid(statusPath.Child("availableReplicas"), available, "cannot be greater than readyReplicas"))
	}
	return errs
}

// validateSelector judges the selector of a workload and that its template is selected by it.
func validateSelector(s *metav1.LabelSelector, template *corev1.PodTemplateSpec, kind string) field.ErrorList {
	at := specPath.Child("selector")
	if s == nil { // which selects nothing, and so not the template
		if kind == "daemonset" {
			return selectsTemplate(s, template)
		}
		return append(field.ErrorList{field.Required(at, "")}, selectsTemplate(s, template)...)
	}
	errs := metavalidation.ValidateLabelSelector(s, metavalidation.LabelSelectorValidationOptions{}, at)
	if len(s.MatchLabels)+len(s.MatchExpressions) == 0 {
		errs = append(errs, field.Invalid(at, s, "empty selector is invalid for "+kind))
	}
	if _, err := metav1.LabelSelectorAsSelector(s); err != nil {
		switch kind {
		case "statefulset":
			errs = append(errs, field.Invalid(at, s, ""))
		case "deployment":
			errs = append(errs, field.Invalid(at, s, "invalid label selector"))
		}
	}
	return append(errs, selectsTemplate(s, template)...)
}

func selectsTemplate(s *metav1.LabelSelector, template *corev1.PodTemplateSpec) field.ErrorList {
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		return nil // which has been told
	}
	if !selector.Empty() && !selector.Matches(labels.Set(template.Labels)) {
		return field.ErrorList{field.Invalid(specPath.Child("template", "metadata", "labels"), template.Labels,
			"`selector` does not match template `labels`")}
	}
	return nil
}

// validateRunningTemplate judges the template of a workload that keeps its pods running.
func validateRunningTemplate(t *corev1.PodTemplateSpec, kind string) field.ErrorList {
	at := specPath.Child("template")
	errs := podspec.ValidateTemplate(t, at)
	if t.Spec.RestartPolicy != corev1.RestartPolicyAlways {
		errs = append(errs, field.NotSupported(at.Child("spec", "restartPolicy"), t.Spec.RestartPolicy,
			[]corev1.RestartPolicy{corev1.RestartPolicyAlways}))
	}
	if t.Spec.ActiveDeadlineSeconds != nil {
		errs = append(errs, field.Forbidden(at.Child("spec", "activeDeadlineSeconds"),
			fmt.Sprintf("activeDeadlineSeconds in %s is not Supported", kind)))
	}
	return errs
}

// templateWarnings tells of a pod template, when it is written or changed. old is nil for a new object.
func templateWarnings[T interface {
	comparable
	metav1.Object
}](obj, old T, t *corev1.PodTemplateSpec, at *field.Path) []string {
	var none T
	if old != none && obj.GetGeneration() == old.GetGeneration() {
		return nil
	}
	return podspec.Warnings(t.Annotations, &t.Spec, at)
}

// podNameWarnings tells of the name of a new workload that makes no good host names of those of its pods.
func podNameWarnings[T interface {
	comparable
	metav1.Object
}](obj, old T) []string {
	var none T
	if old != none {
		return nil
	}
	complaints := validation.IsDNS1123Label(obj.GetName())
	if len(complaints) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; "+
		"a DNS label is recommended: %v", complaints)}
}

// intOrPercent judges a count or a percentage, neither negative.
func intOrPercent(v *intstr.IntOrString, at *field.Path) field.ErrorList {
	if v == nil {
		return nil
	}
	if v.Type == intstr.Int {
		return nonNegative(number{at, int64(v.IntValue())})
	}
	return check(at, v, validation.IsValidPercent(v.StrVal))
}

// percent is the value of a percentage; ok is false for plain numbers.
func percent(v *intstr.IntOrString) (value int, ok bool) {
	if v == nil || v.Type != intstr.String {
		return 0, false
	}
	n, err := strconv.Atoi(strings.TrimSuffix(v.StrVal, "%"))
	return n, err == nil && strings.HasSuffix(v.StrVal, "%")
}

func atMost100Percent(v *intstr.IntOrString, at *field.Path) field.ErrorList {
	if n, ok := percent(v); ok && n > 100 {
		return field.ErrorList{field.Invalid(at, v, "must not be greater than 100%")}
	}
	return nil
}

// isZero says whether a count or percentage comes to nothing, as a text that is neither does.
func isZero(v *intstr.IntOrString) bool {
	if v == nil {
		return true
	}
	if v.Type == intstr.String && len(validation.IsValidPercent(v.StrVal)) == 0 {
		n, _ := percent(v)
		return n == 0
	}
	return v.IntValue() == 0
}

// templateText gives the wide columns of a workload.
func templateText(t *corev1.PodTemplateSpec, s *metav1.LabelSelector) []any {
	names, images := namesAndImages(t.Spec.Containers)
	return []any{names, images, selectorText(s)}
}
