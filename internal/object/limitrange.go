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
			Default: defaultLimitRange,
			PrepareCreate: func(l *corev1.LimitRange) {
				if l.Name == "" {
					l.Name = string(l.UID) // who makes one need not name it
				}
			},
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
			bad := check(at.Child("type"), string(item.Type), nameIsQualified(string(item.Type)))
			if len(bad) == 0 && !strings.Contains(string(item.Type), "/") {
				bad = append(bad, field.Invalid(at.Child("type"), item.Type, "must be a standard limit type or fully qualified"))
			}
			errs = append(errs, bad...)
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
			if item.Type == corev1.LimitTypePod && (part == "default" || part == "defaultRequest") {
				continue // may not be set at all
			}
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
	type bound struct {
		words string
		list  corev1.ResourceList
	}
	low, high := bound{"min", item.Min}, bound{"max", item.Max}
	request, limit := bound{"default request", item.DefaultRequest}, bound{"default", item.Default}
	var errs field.ErrorList
	// The field and the value that an error names are not always those of the lower bound.
	order := func(l, h bound, at *field.Path, named bound) {
		a, ok1 := l.list[name]
		b, ok2 := h.list[name]
		if ok1 && ok2 && a.Cmp(b) > 0 {
			errs = append(errs, field.Invalid(at.Key(string(name)), named.list[name],
				fmt.Sprintf("%s value %s is greater than %s value %s", l.words, a.String(), h.words, b.String())))
		}
	}
	order(low, high, at.Child("min"), low)
	order(low, request, at.Child("defaultRequest"), request)
	order(request, high, at.Child("defaultRequest"), request)
	order(request, bound{"default limit", limit.list}, at.Child("defaultRequest"), request)
	order(low, limit, at.Child("default"), low)
	order(limit, high, at.Child("default"), high)
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
