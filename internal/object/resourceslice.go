package object

import (
	"maps"
	"slices"
	"strings"
	"time"

	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"hyperkube/internal/object/podspec"
)

func resourceSliceKind() *Kind {
	spec := doc(resourcev1.ResourceSliceSpec{}.SwaggerDoc())
	type slice = resourcev1.ResourceSlice
	return &Kind{
		Versions:      []Version{version[slice, resourcev1.ResourceSliceList](resourcev1.SchemeGroupVersion, "ResourceSlice")},
		Resource:      "resourceslices",
		Singular:      "resourceslice",
		Scope:         Cluster,
		StoragePrefix: "resourceslices",
		Strategy: rules[*slice]{
			PrepareCreate: func(s *slice) {
				firstGeneration(s)
				stampDeviceTaints(s)
			},
			PrepareUpdate: func(s, old *slice) {
				stampDeviceTaints(s)
				nextGeneration(s, old, s.Spec, old.Spec)
			},
			Validate: validateResourceSlice,
			ValidateUpdate: func(s, old *slice) field.ErrorList {
				errs := immutable(s.Spec.Driver, old.Spec.Driver, specPath.Child("driver"))
				errs = append(errs, immutable(s.Spec.NodeName, old.Spec.NodeName, specPath.Child("nodeName"))...)
				return append(errs, immutable(s.Spec.Pool.Name, old.Spec.Pool.Name, specPath.Child("pool", "name"))...)
			},
		}.full(Cluster, nameIsSubdomain),
		FieldNames: []string{"spec.nodeName", "spec.driver"},
		Fields: selectableFields(func(s *slice) fields.Set {
			return fields.Set{"spec.nodeName": deref(s.Spec.NodeName, ""), "spec.driver": s.Spec.Driver}
		}),
		Columns: []metav1.TableColumnDefinition{
			nameColumn(),
			column("Node", "string", spec["nodeName"]),
			column("Driver", "string", spec["driver"]),
			column("Pool", "string", doc(resourcev1.ResourcePool{}.SwaggerDoc())["name"]),
			ageColumn(),
		},
		Cells: cells(func(s *slice, now time.Time) []any {
			return []any{s.Name, deref(s.Spec.NodeName, ""), s.Spec.Driver, s.Spec.Pool.Name, age(s, now)}
		}),
	}
}

func stampDeviceTaints(s *resourcev1.ResourceSlice) {
	for i := range s.Spec.Devices {
		for k := range s.Spec.Devices[i].Taints {
			stampTaint(&s.Spec.Devices[i].Taints[k])
		}
	}
}

func validateResourceSlice(s *resourcev1.ResourceSlice) field.ErrorList {
	const maxDevices, maxAttributes = 128, 32
	x := &s.Spec
	errs := podspec.ValidateDriverName(x.Driver, specPath.Child("driver"))
	errs = append(errs, validatePoolName(x.Pool.Name, specPath.Child("pool", "name"))...)
	if x.Pool.ResourceSliceCount <= 0 {
		errs = append(errs, field.Invalid(specPath.Child("pool", "resourceSliceCount"), x.Pool.ResourceSliceCount, "must be greater than zero"))
	}
	errs = append(errs, nonNegative(number{specPath.Child("pool", "generation"), x.Pool.Generation})...)
	n := 0
	for _, set := range []bool{x.NodeName != nil, x.NodeSelector != nil, deref(x.AllNodes, false), deref(x.PerDeviceNodeSelection, false)} {
		if set {
			n++
		}
	}
	switch {
	case n == 0:
		errs = append(errs, field.Required(specPath, "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"))
	case n > 1:
		errs = append(errs, field.Invalid(specPath, field.OmitValueType{}, "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required, but multiple fields are set"))
	}
	if x.NodeName != nil {
		errs = append(errs, check(specPath.Child("nodeName"), *x.NodeName, nameIsSubdomain(*x.NodeName, false))...)
	}
	if x.NodeSelector != nil {
		errs = append(errs, podspec.ValidateNodeSelector(x.NodeSelector, specPath.Child("nodeSelector"))...)
	}
	at := specPath.Child("devices")
	if len(x.Devices) > maxDevices {
		errs = append(errs, field.TooMany(at, len(x.Devices), maxDevices))
	}
	names := sets.Set[string]{}
	for i := range x.Devices {
		d, p := &x.Devices[i], at.Index(i)
		errs = append(errs, check(p.Child("name"), d.Name, nameIsLabel(d.Name, false))...)
		if names.Has(d.Name) {
			errs = append(errs, field.Duplicate(p.Child("name"), d.Name))
		}
		names.Insert(d.Name)
		if n := len(d.Attributes) + len(d.Capacity); n > maxAttributes {
			errs = append(errs, field.Invalid(p, n, "the total number of attributes and capacities must not exceed 32"))
		}
		errs = append(errs, validateDeviceAttributes(d.Attributes, p.Child("attributes"))...)
		if !deref(x.PerDeviceNodeSelection, false) && (d.NodeName != nil || d.NodeSelector != nil || d.AllNodes != nil) {
			errs = append(errs, field.Invalid(p, nil, "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec"))
		}
		for k := range d.Taints {
			errs = append(errs, validateDeviceTaint(&d.Taints[k], p.Child("taints").Index(k))...)
		}
	}
	return errs
}

const attributeTypes = "`int`, `bool`, `string`, `version`, `ints`, `bools`, `strings`, `versions`"

// validateDeviceAttributes: each has one value, of one type.
func validateDeviceAttributes(all map[resourcev1.QualifiedName]resourcev1.DeviceAttribute, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, name := range slices.Sorted(maps.Keys(all)) {
		a := all[name]
		var set []string
		for kind, given := range inOrder(named("int", a.IntValue != nil), named("bool", a.BoolValue != nil), named("string", a.StringValue != nil), named("version", a.VersionValue != nil),
			named("ints", a.IntValues != nil), named("bools", a.BoolValues != nil), named("strings", a.StringValues != nil), named("versions", a.VersionValues != nil)) {
			if given {
				set = append(set, kind)
			}
		}
		switch p := at.Key(string(name)); {
		case len(set) == 0:
			errs = append(errs, field.Invalid(p, "", "must specify one of: "+attributeTypes))
		case len(set) > 1:
			errs = append(errs, field.Invalid(p, "{"+strings.Join(set, ", ")+"}", "must specify exactly one of: "+attributeTypes))
		}
	}
	return errs
}
