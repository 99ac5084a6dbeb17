package object

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"hyperkube/internal/object/goform"
	"hyperkube/internal/object/podspec"
)

func resourceQuotaKind() *Kind {
	return &Kind{
		Versions:      []Version{version[corev1.ResourceQuota, corev1.ResourceQuotaList](corev1.SchemeGroupVersion, "ResourceQuota")},
		Resource:      "resourcequotas",
		Singular:      "resourcequota",
		ShortNames:    []string{"quota"},
		Scope:         Namespaced,
		StoragePrefix: "resourcequotas",
		Strategy: rules[*corev1.ResourceQuota]{
			Default:       func(q *corev1.ResourceQuota) { podspec.RoundUp(q.Spec.Hard) },
			PrepareCreate: func(q *corev1.ResourceQuota) { q.Status = corev1.ResourceQuotaStatus{} },
			PrepareUpdate: func(q, old *corev1.ResourceQuota) { q.Status = *old.Status.DeepCopy() },
			Validate:      validateResourceQuota,
			ValidateUpdate: func(q, old *corev1.ResourceQuota) field.ErrorList {
				scopes := func(s []corev1.ResourceQuotaScope) []corev1.ResourceQuotaScope {
					return slices.Compact(slices.Sorted(slices.Values(s)))
				}
				if !slices.Equal(scopes(q.Spec.Scopes), scopes(old.Spec.Scopes)) {
					return field.ErrorList{field.Invalid(specPath.Child("scopes"), q.Spec.Scopes, "field is immutable")}
				}
				return nil
			},
		}.full(Namespaced, nameIsSubdomain),
		Subresources: []Subresource{writes("status", rules[*corev1.ResourceQuota]{
			PrepareUpdate: func(q, old *corev1.ResourceQuota) { q.Spec = *old.Spec.DeepCopy() },
			ValidateUpdate: func(q, _ *corev1.ResourceQuota) field.ErrorList {
				errs := quotaList(q.Status.Hard, statusPath.Child("hard"))
				return append(errs, quotaList(q.Status.Used, statusPath.Child("used"))...)
			},
		})},
		Columns: []metav1.TableColumnDefinition{
			nameColumn(),
			column("Request", "string", "Request represents a minimum amount of cpu/memory that a container may consume."),
			column("Limit", "string", "Limits control the maximum amount of cpu/memory that a container may use independent of contention on the node."),
			ageColumn(),
		},
		Cells: cells(quotaCells),
	}
}

func quotaCells(q *corev1.ResourceQuota, now time.Time) []any {
	var requests, limits []string
	for _, name := range sets.List(sets.KeySet(q.Status.Hard)) {
		used, hard := q.Status.Used[name], q.Status.Hard[name]
		text := fmt.Sprintf("%s: %s/%s", name, used.String(), hard.String())
		if strings.HasPrefix(string(name), "limits") {
			limits = append(limits, text)
		} else {
			requests = append(requests, text)
		}
	}
	return []any{q.Name, strings.Join(requests, ", "), strings.Join(limits, ", "), age(q, now)}
}

func quotaList(list corev1.ResourceList, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for name, q := range list {
		p := at.Key(string(name))
		bad := check(p, string(name), nameIsQualified(string(name)))
		errs = append(errs, bad...)
		if !strings.Contains(string(name), "/") && !standardQuota(string(name)) {
			if len(bad) == 0 {
				errs = append(errs, field.Invalid(p, string(name), "must be a standard resource type or fully qualified"))
			}
			errs = append(errs, field.Invalid(p, string(name), "must be a standard resource for quota"))
		}
		errs = append(errs, podspec.ValidateQuantity(name, q, p)...)
	}
	return errs
}

func standardQuota(name string) bool {
	if strings.HasPrefix(name, "hugepages-") || strings.HasPrefix(name, "requests.hugepages-") {
		return true
	}
	switch name {
	case "cpu", "memory", "ephemeral-storage", "storage", "pods", "services", "replicationcontrollers", "resourcequotas", "secrets",
		"configmaps", "persistentvolumeclaims", "services.nodeports", "services.loadbalancers",
		"requests.cpu", "requests.memory", "requests.storage", "requests.ephemeral-storage",
		"limits.cpu", "limits.memory", "limits.ephemeral-storage":
		return true
	}
	return false
}

var quotaScopes = []corev1.ResourceQuotaScope{
	corev1.ResourceQuotaScopeBestEffort, corev1.ResourceQuotaScopeCrossNamespacePodAffinity, corev1.ResourceQuotaScopeNotBestEffort,
	corev1.ResourceQuotaScopeNotTerminating, corev1.ResourceQuotaScopePriorityClass, corev1.ResourceQuotaScopeTerminating,
	corev1.ResourceQuotaScopeVolumeAttributesClass,
}

func validateResourceQuota(q *corev1.ResourceQuota) field.ErrorList {
	errs := quotaList(q.Spec.Hard, specPath.Child("hard"))
	at := specPath.Child("scopes")
	for _, s := range q.Spec.Scopes {
		if !slices.Contains(quotaScopes, s) {
			errs = append(errs, field.Invalid(at, q.Spec.Scopes, "unsupported scope"))
		}
		errs = append(errs, scopeFits(s, q.Spec.Hard, at, q.Spec.Scopes)...)
	}
	has := func(s corev1.ResourceQuotaScope) bool { return slices.Contains(q.Spec.Scopes, s) }
	if has(corev1.ResourceQuotaScopeBestEffort) && has(corev1.ResourceQuotaScopeNotBestEffort) ||
		has(corev1.ResourceQuotaScopeTerminating) && has(corev1.ResourceQuotaScopeNotTerminating) {
		errs = append(errs, field.Invalid(at, q.Spec.Scopes, "conflicting scopes"))
	}
	if sel := q.Spec.ScopeSelector; sel != nil {
		at = specPath.Child("scopeSelector", "matchExpressions")
		for _, r := range sel.MatchExpressions {
			errs = append(errs, validateScopeRequirement(r, sel, q.Spec.Hard, at)...)
		}
	}
	return errs
}

func validateScopeRequirement(r corev1.ScopedResourceSelectorRequirement, all *corev1.ScopeSelector, hard corev1.ResourceList, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if !slices.Contains(quotaScopes, r.ScopeName) {
		errs = append(errs, field.Invalid(at.Child("scopeName"), r.ScopeName, "unsupported scope"))
	}
	errs = append(errs, scopeFits(r.ScopeName, hard, at, goform.Of(all))...)
	switch r.ScopeName {
	case corev1.ResourceQuotaScopeTerminating, corev1.ResourceQuotaScopeNotTerminating, corev1.ResourceQuotaScopeBestEffort,
		corev1.ResourceQuotaScopeNotBestEffort, corev1.ResourceQuotaScopeCrossNamespacePodAffinity:
		if r.Operator != corev1.ScopeSelectorOpExists {
			errs = append(errs, field.Invalid(at.Child("operator"), r.Operator,
				"must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity"))
		}
	}
	switch r.Operator {
	case corev1.ScopeSelectorOpIn, corev1.ScopeSelectorOpNotIn:
		if len(r.Values) == 0 {
			errs = append(errs, field.Required(at.Child("values"), "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"))
		}
	case corev1.ScopeSelectorOpExists, corev1.ScopeSelectorOpDoesNotExist:
		if len(r.Values) > 0 {
			errs = append(errs, field.Invalid(at.Child("values"), r.Values, "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"))
		}
	default:
		errs = append(errs, field.Invalid(at.Child("operator"), r.Operator, "not a valid selector operator"))
	}
	return errs
}

// scopeFits: each scope counts certain of the standard resources only.
func scopeFits(s corev1.ResourceQuotaScope, hard corev1.ResourceList, at *field.Path, value any) field.ErrorList {
	for name := range hard {
		if !standardQuota(string(name)) {
			continue
		}
		fits := true
		switch s {
		case corev1.ResourceQuotaScopeBestEffort:
			fits = name == corev1.ResourcePods
		case corev1.ResourceQuotaScopeVolumeAttributesClass:
			fits = name == corev1.ResourcePersistentVolumeClaims || name == corev1.ResourceRequestsStorage
		case corev1.ResourceQuotaScopeTerminating, corev1.ResourceQuotaScopeNotTerminating, corev1.ResourceQuotaScopeNotBestEffort,
			corev1.ResourceQuotaScopePriorityClass, corev1.ResourceQuotaScopeCrossNamespacePodAffinity:
			switch name {
			case corev1.ResourcePods, corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage,
				corev1.ResourceRequestsCPU, corev1.ResourceRequestsMemory, corev1.ResourceRequestsEphemeralStorage,
				corev1.ResourceLimitsCPU, corev1.ResourceLimitsMemory, corev1.ResourceLimitsEphemeralStorage:
			default:
				fits = false
			}
		}
		if !fits {
			return field.ErrorList{field.Invalid(at, value, "unsupported scope applied to resource")}
		}
	}
	return nil
}
