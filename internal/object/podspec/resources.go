package podspec

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	helpers "k8s.io/component-helpers/resource"
)

const notNegative = "must be greater than or equal to 0"

func hugePages(name corev1.ResourceName) bool {
	return strings.HasPrefix(string(name), corev1.ResourceHugePagesPrefix)
}

// ExtendedResource says whether a resource is a counted thing that a node advertises: a qualified
// name outside kubernetes.io and not one of quota's "requests.".
func ExtendedResource(name corev1.ResourceName) bool {
	return !native(name) && !strings.HasPrefix(string(name), corev1.DefaultResourceRequestsPrefix) &&
		len(validation.IsQualifiedName(corev1.DefaultResourceRequestsPrefix+string(name))) == 0
}

func native(name corev1.ResourceName) bool {
	return !strings.Contains(string(name), "/") || strings.Contains(string(name), corev1.ResourceDefaultNamespacePrefix)
}

// overcommits says whether the request of a resource may be below its limit.
func overcommits(name corev1.ResourceName) bool { return native(name) && !hugePages(name) }

// ValidateResourceName judges the name of a resource that a container may have.
func ValidateResourceName(name corev1.ResourceName, at *field.Path) errs {
	out := ValidateStandardName(name, at)
	switch {
	case !strings.Contains(string(name), "/"):
		standard := name == corev1.ResourceCPU || name == corev1.ResourceMemory || name == corev1.ResourceEphemeralStorage
		if !standard && !hugePages(name) {
			return append(out, field.Invalid(at, string(name), "must be a standard resource for containers"))
		}
	case len(out) == 0 && !native(name) && !ExtendedResource(name):
		return errs{field.Invalid(at, string(name), "doesn't follow extended resource name standard")}
	}
	return out
}

// standardNames are the resources that have a meaning without a domain: what containers use, and what quotas count.
var standardNames = sets.New[corev1.ResourceName](
	corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage, corev1.ResourceStorage,
	corev1.ResourceRequestsCPU, corev1.ResourceRequestsMemory, corev1.ResourceRequestsEphemeralStorage, corev1.ResourceRequestsStorage,
	corev1.ResourceLimitsCPU, corev1.ResourceLimitsMemory, corev1.ResourceLimitsEphemeralStorage,
	corev1.ResourcePods, corev1.ResourceServices, corev1.ResourceServicesNodePorts, corev1.ResourceServicesLoadBalancers,
	corev1.ResourceQuotas, corev1.ResourceReplicationControllers, corev1.ResourceSecrets, corev1.ResourceConfigMaps,
	corev1.ResourcePersistentVolumeClaims)

// ValidateStandardName wants the name of a resource to be well formed and to be one of the API's own or to have a domain.
func ValidateStandardName(name corev1.ResourceName, at *field.Path) errs {
	if out := invalid(at, string(name), validation.IsQualifiedName(string(name))); len(out) > 0 {
		return out
	}
	known := standardNames.Has(name) || hugePages(name) || strings.HasPrefix(string(name), corev1.ResourceRequestsHugePagesPrefix)
	if !known && !strings.Contains(string(name), "/") {
		return errs{field.Invalid(at, string(name), "must be a standard resource type or fully qualified")}
	}
	return nil
}

// ValidateQuantity judges an amount of a resource: not negative, and whole for things that are counted.
func ValidateQuantity(name corev1.ResourceName, q resource.Quantity, at *field.Path) errs {
	var out errs
	if q.Sign() < 0 {
		out = append(out, field.Invalid(at, q.String(), notNegative))
	}
	counted := name == corev1.ResourcePods || name == corev1.ResourceServices || name == corev1.ResourceQuotas ||
		name == corev1.ResourceReplicationControllers || name == corev1.ResourceSecrets || name == corev1.ResourceConfigMaps ||
		name == corev1.ResourcePersistentVolumeClaims || name == corev1.ResourceServicesNodePorts || name == corev1.ResourceServicesLoadBalancers
	if (counted || ExtendedResource(name)) && q.MilliValue()%1000 != 0 {
		out = append(out, field.Invalid(at, q, "must be an integer"))
	}
	return out
}

func validateResources(r *corev1.ResourceRequirements, claims sets.Set[string], at *field.Path) errs {
	var out errs
	compute, huge := false, false
	note := func(name corev1.ResourceName) {
		compute = compute || name == corev1.ResourceCPU || name == corev1.ResourceMemory
		huge = huge || hugePages(name)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Limits)) {
		q := r.Limits[name]
		p := at.Child("limits").Key(string(name))
		out = append(out, ValidateResourceName(name, p)...)
		out = append(out, ValidateQuantity(name, q, p)...)
		if hugePages(name) {
			out = append(out, validateHugePages(name, q, p)...)
		}
		note(name)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Requests)) {
		q := r.Requests[name]
		p := at.Child("requests").Key(string(name))
		out = append(out, ValidateResourceName(name, p)...)
		out = append(out, ValidateQuantity(name, q, p)...)
		if hugePages(name) {
			out = append(out, validateHugePages(name, q, p)...)
		}
		out = append(out, requestWithinLimit(name, q, r.Limits, at)...)
		note(name)
	}
	if huge && !compute {
		out = append(out, field.Forbidden(at, "HugePages require cpu or memory"))
	}
	return append(out, validateResourceClaims(r.Claims, claims, at.Child("claims"))...)
}

func requestWithinLimit(name corev1.ResourceName, q resource.Quantity, limits corev1.ResourceList, at *field.Path) errs {
	p := at.Child("requests")
	limit, limited := limits[name]
	switch {
	case !limited && !overcommits(name):
		return errs{field.Required(at.Child("limits"), "Limit must be set for non overcommitable resources")}
	case !limited:
		return nil
	case !overcommits(name) && q.Cmp(limit) != 0:
		return errs{field.Invalid(p, q.String(), fmt.Sprintf("must be equal to %s limit of %s", name, limit.String()))}
	case q.Cmp(limit) > 0:
		return errs{field.Invalid(p, q.String(), fmt.Sprintf("must be less than or equal to %s limit of %s", name, limit.String()))}
	}
	return nil
}

func validateHugePages(name corev1.ResourceName, q resource.Quantity, at *field.Path) errs {
	size, err := resource.ParseQuantity(strings.TrimPrefix(string(name), corev1.ResourceHugePagesPrefix))
	if err != nil || size.Sign() <= 0 || q.Value()%size.Value() != 0 {
		return errs{field.Invalid(at, q.String(), fmt.Sprintf("%s is not positive integer multiple of %s", q.String(), name))}
	}
	return nil
}

func validateResourceClaims(claims []corev1.ResourceClaim, known sets.Set[string], at *field.Path) errs {
	var out errs
	type key struct{ name, request string }
	seen := sets.Set[key]{}
	choice := " which is empty"
	if len(known) > 0 {
		choice = ": " + strings.Join(sets.List(known), ", ")
	}
	for i, c := range claims {
		p := at.Index(i)
		if c.Name == "" {
			out = append(out, field.Required(p, ""))
			continue
		}
		k := key{c.Name, c.Request}
		// A claim without a request stands for all requests of its name.
		any := func(s key) bool {
			return s.name == c.Name && (c.Request == "" || s.request == "" || s.request == c.Request)
		}
		if slices.ContainsFunc(seen.UnsortedList(), any) {
			out = append(out, field.Duplicate(p, c.Name))
		} else {
			seen.Insert(k)
		}
		if !known.Has(c.Name) {
			missing := field.NotFound(p, c.Name)
			missing.Detail = "must be one of the names in pod.spec.resourceClaims" + choice
			out = append(out, missing)
		}
		out = append(out, optional(p.Child("request"), c.Request, validation.IsDNS1123Label)...)
	}
	return out
}

// validatePodResources judges the resources of the pod as a whole (KEP-2837): what the containers request
// together fits into them.
func validatePodResources(spec *corev1.PodSpec, claims sets.Set[string], at *field.Path) errs {
	r := spec.Resources
	if r == nil {
		return nil
	}
	var out errs
	if len(r.Claims) > 0 {
		out = append(out, field.Forbidden(at.Child("claims"), "claims may not be set for Resources at pod-level"))
	}
	for _, part := range []string{"limits", "requests"} {
		list := r.Limits
		if part == "requests" {
			list = r.Requests
		}
		for _, name := range slices.Sorted(maps.Keys(list)) {
			if !helpers.IsSupportedPodLevelResource(name) {
				out = append(out, field.NotSupported(at.Child(part).Key(string(name)), name, sets.List(helpers.SupportedPodLevelResources())))
			}
		}
	}
	if len(out) > 0 {
		return append(out, validateResourceClaims(r.Claims, claims, at.Child("claims"))...)
	}
	out = append(out, validateResources(&corev1.ResourceRequirements{Limits: r.Limits, Requests: r.Requests}, nil, at)...)
	sums := helpers.AggregateContainerRequests(&corev1.Pod{Spec: *spec}, helpers.PodResourcesOptions{})
	for _, name := range slices.Sorted(maps.Keys(sums)) {
		sum := sums[name]
		if q, ok := r.Requests[name]; ok && helpers.IsSupportedPodLevelResource(name) && sum.Cmp(q) > 0 {
			out = append(out, field.Invalid(at.Child("requests").Key(string(name)), q.String(),
				fmt.Sprintf("must be greater than or equal to aggregate container requests of %s", sum.String())))
		}
	}
	for i := range spec.Containers {
		limits := spec.Containers[i].Resources.Limits
		for _, name := range slices.Sorted(maps.Keys(limits)) {
			limit := limits[name]
			if q, ok := r.Limits[name]; ok && limit.Cmp(q) > 0 {
				out = append(out, field.Invalid(at.Child("containers").Index(i).Key(string(name)).Child("limits"), limit.String(),
					fmt.Sprintf("must be less than or equal to pod limits of %s", q.String())))
			}
		}
	}
	return out
}
