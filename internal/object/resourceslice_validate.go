package object

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"hyperkube/internal/object/goform"
	"hyperkube/internal/object/podspec"
)

func validateResourceSlice(s, old *resourcev1.ResourceSlice) field.ErrorList {
	x := &s.Spec
	driver, pool := specPath.Child("driver"), specPath.Child("pool")
	errs := podspec.ValidateDriverName(x.Driver, driver)
	errs = append(errs, validatePoolName(x.Pool.Name, pool.Child("name"))...)
	if x.Pool.ResourceSliceCount <= 0 {
		errs = append(errs, field.Invalid(pool.Child("resourceSliceCount"), x.Pool.ResourceSliceCount, "must be greater than zero"))
	}
	if x.Pool.Generation < 0 {
		errs = append(errs, field.Invalid(pool.Child("generation"), x.Pool.Generation, "must be greater than or equal to zero"))
	}
	if old != nil {
		errs = append(errs, immutable(x.Pool.Name, old.Spec.Pool.Name, pool.Child("name"))...)
		errs = append(errs, immutable(x.Driver, old.Spec.Driver, driver)...)
		errs = append(errs, immutable(x.NodeName, old.Spec.NodeName, specPath.Child("nodeName"))...)
	}
	errs = append(errs, validateSliceNodes(x)...)
	errs = append(errs, validateDevices(x)...)
	return append(errs, validateSharedCounters(x)...)
}

// whichNodes are the nodes that devices are for, said in one of several ways.
type whichNodes struct {
	name     *string
	selector *corev1.NodeSelector
	all      *bool
	each     *bool // every device says it for itself; nil for a device
}

// validate judges the ways that are used, and gives their names.
func (w *whichNodes) validate(at *field.Path) (errs field.ErrorList, used []string) {
	use := func(name string) { used = append(used, "`"+name+"`") }
	if w.name != nil {
		p := at.Child("nodeName")
		if *w.name == "" {
			errs = append(errs, field.Invalid(p, *w.name, "must be either unset or set to a non-empty string"))
		} else {
			use("nodeName")
			errs = append(errs, check(p, *w.name, nameIsSubdomain(*w.name, false))...)
		}
	}
	if s := w.selector; s != nil {
		use("nodeSelector")
		errs = append(errs, podspec.ValidateNodeSelector(s, at.Child("nodeSelector"))...)
		if len(s.NodeSelectorTerms) != 1 {
			errs = append(errs, field.Invalid(at.Child("nodeSelector", "nodeSelectorTerms"), goform.Of(s.NodeSelectorTerms), "must have exactly one node selector term"))
		}
	}
	for name, set := range inOrder(named("allNodes", w.all), named("perDeviceNodeSelection", w.each)) {
		if set == nil {
			continue
		}
		if *set {
			use(name)
		} else {
			errs = append(errs, field.Invalid(at.Child(name), false, "must be either unset or set to true"))
		}
	}
	return errs, used
}

// validateSliceNodes wants a slice to say, in one way, for which nodes its devices are.
func validateSliceNodes(x *resourcev1.ResourceSliceSpec) field.ErrorList {
	const one = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"
	w := whichNodes{x.NodeName, x.NodeSelector, x.AllNodes, x.PerDeviceNodeSelection}
	errs, used := w.validate(specPath)
	switch {
	case len(used) == 0:
		errs = append(errs, field.Required(specPath, one))
	case len(used) > 1:
		errs = append(errs, field.Invalid(specPath, "{"+strings.Join(used, ", ")+"}", one+", but multiple fields are set"))
	}
	if len(x.SharedCounters) > 0 && len(x.Devices) > 0 {
		errs = append(errs, field.Invalid(specPath, "", "only one of `sharedCounters` or `devices` is allowed"))
	}
	return errs
}

func validateDevices(x *resourcev1.ResourceSliceSpec) field.ErrorList {
	at := specPath.Child("devices")
	most := resourcev1.ResourceSliceMaxDevices
	for i := range x.Devices {
		if len(x.Devices[i].Taints) > 0 || len(x.Devices[i].ConsumesCounters) > 0 {
			most = resourcev1.ResourceSliceMaxDevicesWithAdvancedFeatures
		}
	}
	var errs field.ErrorList
	if len(x.Devices) > most {
		errs = append(errs, field.TooMany(at, len(x.Devices), most))
	}
	names := sets.Set[string]{}
	for i := range x.Devices {
		d, p := &x.Devices[i], at.Index(i)
		errs = append(errs, validateDevice(d, deref(x.PerDeviceNodeSelection, false), p)...)
		if names.Has(d.Name) {
			errs = append(errs, field.Duplicate(p, d.Name))
		}
		names.Insert(d.Name)
	}
	return errs
}

func validateDevice(d *resourcev1.Device, eachNodes bool, at *field.Path) field.ErrorList {
	errs := check(at.Child("name"), d.Name, nameIsLabel(d.Name, false))
	if n := len(d.Attributes) + len(d.Capacity); n > resourcev1.ResourceSliceMaxAttributesAndCapacitiesPerDevice {
		errs = append(errs, field.Invalid(at, n, fmt.Sprintf("the total number of attributes and capacities must not exceed %d", resourcev1.ResourceSliceMaxAttributesAndCapacitiesPerDevice)))
	}
	errs = append(errs, validateDeviceAttributes(d.Attributes, at.Child("attributes"))...)
	errs = append(errs, validateDeviceCapacity(d, at.Child("capacity"))...)
	if n := len(d.Taints); n > resourcev1.DeviceTaintsMaxLength {
		errs = append(errs, field.TooMany(at.Child("taints"), n, resourcev1.DeviceTaintsMaxLength))
	}
	for k := range d.Taints {
		errs = append(errs, validateDeviceTaint(&d.Taints[k], at.Child("taints").Index(k))...)
	}
	if n := len(d.ConsumesCounters); n > resourcev1.ResourceSliceMaxDeviceCounterConsumptionsPerDevice {
		errs = append(errs, field.TooMany(at.Child("consumesCounters"), n, resourcev1.ResourceSliceMaxDeviceCounterConsumptionsPerDevice))
	}
	sets := map[string]bool{}
	for k, c := range d.ConsumesCounters {
		p := at.Child("consumesCounters").Index(k)
		errs = append(errs, validateCounters(c.CounterSet, c.Counters, p, p.Child("counterSet"))...)
		if sets[c.CounterSet] {
			errs = append(errs, field.Duplicate(p, c.CounterSet))
		}
		sets[c.CounterSet] = true
	}
	errs = append(errs, validateDeviceNodes(d, eachNodes, at)...)
	return append(errs, validateBindingConditions(d, at)...)
}

func validateDeviceNodes(d *resourcev1.Device, eachNodes bool, at *field.Path) field.ErrorList {
	if !eachNodes {
		if d.NodeName != nil || d.NodeSelector != nil || d.AllNodes != nil {
			return field.ErrorList{field.Invalid(at, nil, "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec")}
		}
		return nil
	}
	const one = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec"
	w := whichNodes{name: d.NodeName, selector: d.NodeSelector, all: d.AllNodes}
	errs, used := w.validate(at)
	switch {
	case len(used) == 0:
		errs = append(errs, field.Required(at, one))
	case len(used) > 1:
		errs = append(errs, field.Invalid(at, "{"+strings.Join(used, ", ")+"}", one))
	}
	return errs
}

// validateBindingConditions wants conditions of a device that is prepared before pods are bound, of success and of failure.
func validateBindingConditions(d *resourcev1.Device, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	good, bad := at.Child("bindingConditions"), at.Child("bindingFailureConditions")
	names := func(list []string, most int, p *field.Path) {
		if len(list) > most {
			errs = append(errs, field.TooMany(p, len(list), most))
		}
		for i, c := range list {
			errs = append(errs, check(p.Index(i), c, nameIsQualified(c))...)
			if slices.Contains(list[:i], c) {
				errs = append(errs, field.Duplicate(p.Index(i), c))
			}
		}
	}
	names(d.BindingConditions, resourcev1.BindingConditionsMaxSize, good)
	names(d.BindingFailureConditions, resourcev1.BindingFailureConditionsMaxSize, bad)
	if len(d.BindingConditions) == 0 && len(d.BindingFailureConditions) > 0 {
		errs = append(errs, field.Invalid(good, d.BindingConditions, "bindingConditions are required to use bindingFailureConditions"))
	}
	if len(d.BindingConditions) > 0 && len(d.BindingFailureConditions) == 0 {
		errs = append(errs, field.Invalid(bad, d.BindingFailureConditions, "bindingFailureConditions are required to use bindingConditions"))
	}
	return errs
}

const attributeTypes = "`int`, `bool`, `string`, `version`, `ints`, `bools`, `strings`, `versions`"

// validateDeviceAttributes: each has one value, of one type.
func validateDeviceAttributes(all map[resourcev1.QualifiedName]resourcev1.DeviceAttribute, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, name := range slices.Sorted(maps.Keys(all)) {
		a, p := all[name], at.Key(string(name))
		errs = append(errs, validateDeviceName(string(name), at)...)
		var set []string
		for kind, given := range inOrder(named("int", a.IntValue != nil), named("bool", a.BoolValue != nil), named("string", a.StringValue != nil), named("version", a.VersionValue != nil),
			named("ints", a.IntValues != nil), named("bools", a.BoolValues != nil), named("strings", a.StringValues != nil), named("versions", a.VersionValues != nil)) {
			if given {
				set = append(set, kind)
			}
		}
		if v := a.StringValue; v != nil {
			errs = append(errs, notLonger(*v, resourcev1.DeviceAttributeMaxValueLength, p.Child("string"))...)
		}
		if v := a.VersionValue; v != nil {
			errs = append(errs, validateDeviceVersion(*v, p.Child("version"))...)
		}
		switch {
		case len(set) == 0:
			errs = append(errs, field.Invalid(p, "", "must specify one of: "+attributeTypes))
		case len(set) > 1:
			errs = append(errs, field.Invalid(p, "{"+strings.Join(set, ", ")+"}", "must specify exactly one of: "+attributeTypes))
		}
	}
	return errs
}

func validateDeviceCapacity(d *resourcev1.Device, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, name := range slices.Sorted(maps.Keys(d.Capacity)) {
		errs = append(errs, validateDeviceName(string(name), at)...)
		if d.Capacity[name].RequestPolicy != nil && !deref(d.AllowMultipleAllocations, false) {
			errs = append(errs, field.Forbidden(at.Key(string(name)).Child("requestPolicy"), "allowMultipleAllocations must be true"))
		}
	}
	return errs
}

func validateSharedCounters(x *resourcev1.ResourceSliceSpec) field.ErrorList {
	var errs field.ErrorList
	at := specPath.Child("sharedCounters")
	if n := len(x.SharedCounters); n > resourcev1.ResourceSliceMaxCounterSets {
		errs = append(errs, field.TooMany(at, n, resourcev1.ResourceSliceMaxCounterSets))
	}
	names := sets.Set[string]{}
	for i, c := range x.SharedCounters {
		p := at.Index(i)
		errs = append(errs, validateCounters(c.Name, c.Counters, p, p.Child("name"))...)
		if names.Has(c.Name) {
			errs = append(errs, field.Duplicate(p, c.Name))
		}
		names.Insert(c.Name)
	}
	return errs
}

// validateCounters judges a set of counters, or what a device takes of one.
func validateCounters(set string, counters map[string]resourcev1.Counter, at, name *field.Path) field.ErrorList {
	var errs field.ErrorList
	if set == "" {
		errs = append(errs, field.Required(name, ""))
	} else {
		errs = append(errs, check(name, set, validation.IsDNS1123Label(set))...)
	}
	p := at.Child("counters")
	switch n := len(counters); {
	case n == 0:
		errs = append(errs, field.Required(p, ""))
	case n > resourcev1.ResourceSliceMaxCountersPerCounterSet:
		errs = append(errs, field.TooMany(p, n, resourcev1.ResourceSliceMaxCountersPerCounterSet))
	}
	for _, c := range slices.Sorted(maps.Keys(counters)) {
		errs = append(errs, check(p, c, validation.IsDNS1123Label(c))...)
	}
	return errs
}
