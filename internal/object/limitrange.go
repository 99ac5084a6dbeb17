package object

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"hyperkube/internal/object/podspec"
)

func limitRangeKind() *Kind {
	return &Kind{
		Versions:       []Version{version[corev1.LimitRange, corev1.LimitRangeList](corev1.SchemeGroupVersion, "LimitRange")},
		Resource:       "limitranges",
		Singular:       "limitrange",
		ShortNames:     []string{"limits"},
		Scope:          Namespaced,
		StoragePrefix:  "limitranges",
		CreateOnUpdate: true,
		Strategy: rules[*corev1.LimitRange]{
			Default:  defaultLimitRange,
			Validate: validateLimitRange,
		}.full(Namespaced, nameIsSubdomain),
	}
}

// defaultLimitRange derives what containers get by default: the limit from the maximum, the request from the
// default limit, else from the minimum.
func defaultLimitRange(l *corev1.LimitRange) {
	for i := range l.Spec.Limits {
		item := &l.Spec.Limits[i]
		if item.Type != corev1.LimitTypeContainer {
			continue
		}
		fill := func(into *corev1.ResourceList, from corev1.ResourceList) {
			for name, q := range from {
				if _, set := (*into)[name]; !set {
					if *into == nil {
						*into = corev1.ResourceList{}
					}
					(*into)[name] = q.DeepCopy()
				}
			}
		}
		fill(&item.Default, item.Max)
		fill(&item.DefaultRequest, item.Default)
		fill(&item.DefaultRequest, item.Min)
	}
}

func validateLimitRange(l *corev1.LimitRange) field.ErrorList {
	var errs field.ErrorList
	types := sets.Set[corev1.LimitType]{}
	for i := range l.Spec.Limits {
		item, at := &l.Spec.Limits[i], specPath.Child("limits").Index(i)
		known := item.Type == corev1.LimitTypePod || item.Type == corev1.LimitTypeContainer || item.Type == corev1.LimitTypePersistentVolumeClaim
		if !known {
			errs = append(errs, check(at.Child("type"), string(item.Type), nameIsQualified(string(item.Type)))...)
		}
		if types.Has(item.Type) {
			errs = append(errs, field.Duplicate(at.Child("type"), item.Type))
		}
		types.Insert(item.Type)
		errs = append(errs, validateLimitItem(item, at)...)
	}
	return errs
}

func validateLimitItem(item *corev1.LimitRangeItem, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	names := sets.Set[corev1.ResourceName]{}
	for part, list := range inOrder(named("max", item.Max), named("min", item.Min), named("default", item.Default),
		named("defaultRequest", item.DefaultRequest), named("maxLimitRequestRatio", item.MaxLimitRequestRatio)) {
		for _, name := range slices.Sorted(maps.Keys(list)) {
			names.Insert(name)
			p := at.Child(part).Key(string(name))
			if item.Type == corev1.LimitTypeContainer || item.Type == corev1.LimitTypePod {
				errs = append(errs, podspec.ValidateResourceName(name, p)...)
			} else {
				errs = append(errs, check(p, string(name), nameIsQualified(string(name)))...)
			}
		}
	}
	if item.Type == corev1.LimitTypePod {
		if len(item.Default) > 0 {
			errs = append(errs, field.Forbidden(at.Child("default"), "may not be specified when `type` is 'Pod'"))
		}
		if len(item.DefaultRequest) > 0 {
			errs = append(errs, field.Forbidden(at.Child("defaultRequest"), "may not be specified when `type` is 'Pod'"))
		}
	}
	if item.Type == corev1.LimitTypePersistentVolumeClaim {
		_, hasMin := item.Min[corev1.ResourceStorage]
		_, hasMax := item.Max[corev1.ResourceStorage]
		if !hasMin && !hasMax {
			errs = append(errs, field.Required(at.Child("limits"), "either minimum or maximum storage value is required, but neither was provided"))
		}
	}
	for _, name := range sets.List(names) {
		errs = append(errs, validateLimitOrder(item, name, at)...)
	}
	return errs
}

// validateLimitOrder wants min ≤ defaultRequest ≤ default ≤ max for one resource.
func validateLimitOrder(item *corev1.LimitRangeItem, name corev1.ResourceName, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	order := func(lowName string, low corev1.ResourceList, highName string, high corev1.ResourceList) {
		words := strings.NewReplacer("defaultRequest", "default request")
		l, ok1 := low[name]
		h, ok2 := high[name]
		if ok1 && ok2 && l.Cmp(h) > 0 {
			errs = append(errs, field.Invalid(at.Child(lowName).Key(string(name)), l,
				fmt.Sprintf("%s value %s is greater than %s value %s", words.Replace(lowName), l.String(), words.Replace(highName), h.String())))
		}
	}
	order("min", item.Min, "max", item.Max)
	order("min", item.Min, "defaultRequest", item.DefaultRequest)
	order("min", item.Min, "default", item.Default)
	order("defaultRequest", item.DefaultRequest, "max", item.Max)
	order("defaultRequest", item.DefaultRequest, "default", item.Default)
	order("default", item.Default, "max", item.Max)
	if ratio, ok := item.MaxLimitRequestRatio[name]; ok {
		p := at.Child("maxLimitRequestRatio").Key(string(name))
		if ratio.Cmp(*resource.NewQuantity(1, resource.DecimalSI)) < 0 {
			errs = append(errs, field.Invalid(p, ratio, fmt.Sprintf("ratio %s is less than 1", ratio.String())))
		}
		low, ok1 := item.Min[name]
		high, ok2 := item.Max[name]
		if ok1 && ok2 {
			if most := float64(high.MilliValue()) / float64(low.MilliValue()); float64(ratio.MilliValue())/1000 > most {
				errs = append(errs, field.Invalid(p, ratio, fmt.Sprintf("ratio %s is greater than max/min = %f", ratio.String(), most)))
			}
		}
	}
	return errs
}
