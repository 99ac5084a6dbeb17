package object

import (
	"encoding/json"
	"fmt"
	"strings"

	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"hyperkube/internal/object/podspec"
)

// What the kinds of dynamic resource allocation (KEP-4381) share.

const (
	maxRequests    = 32
	maxConstraints = 32
	maxConfigs     = 32
	maxSelectors   = 32
	maxExpression  = 10 * 1024
	maxOpaque      = 10 * 1024
)

func defaultClaim(s *resourcev1.ResourceClaimSpec) {
	for i := range s.Devices.Requests {
		r := &s.Devices.Requests[i]
		if e := r.Exactly; e != nil {
			defaultAllocation(&e.AllocationMode, &e.Count)
			defaultDeviceTolerations(e.Tolerations)
		}
		for k := range r.FirstAvailable {
			f := &r.FirstAvailable[k]
			defaultAllocation(&f.AllocationMode, &f.Count)
			defaultDeviceTolerations(f.Tolerations)
		}
	}
}

func defaultAllocation(mode *resourcev1.DeviceAllocationMode, count *int64) {
	setDefault(mode, resourcev1.DeviceAllocationModeExactCount)
	if *mode == resourcev1.DeviceAllocationModeExactCount {
		setDefault(count, 1)
	}
}

func defaultDeviceTolerations(list []resourcev1.DeviceToleration) {
	for i := range list {
		setDefault(&list[i].Operator, resourcev1.DeviceTolerationOpEqual)
	}
}

func validateClaimSpec(s *resourcev1.ResourceClaimSpec, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	at = at.Child("devices")
	d := &s.Devices
	tooMany := func(name string, n, most int) {
		if n > most {
			errs = append(errs, field.TooMany(at.Child(name), n, most))
		}
	}
	tooMany("requests", len(d.Requests), maxRequests)
	tooMany("constraints", len(d.Constraints), maxConstraints)
	tooMany("config", len(d.Config), maxConfigs)
	names := sets.Set[string]{}
	for i := range d.Requests {
		errs = append(errs, validateDeviceRequest(&d.Requests[i], names, at.Child("requests").Index(i))...)
	}
	for i, c := range d.Constraints {
		p := at.Child("constraints").Index(i)
		errs = append(errs, knownRequests(c.Requests, names, p.Child("requests"))...)
		switch {
		case c.MatchAttribute == nil && c.DistinctAttribute == nil:
			errs = append(errs, field.Required(p, `exactly one of "matchAttribute" or "distinctAttribute" is required, but multiple fields are set`))
		case c.MatchAttribute != nil:
			errs = append(errs, validateAttributeName(string(*c.MatchAttribute), p.Child("matchAttribute"))...)
		}
	}
	for i := range d.Config {
		p := at.Child("config").Index(i)
		errs = append(errs, knownRequests(d.Config[i].Requests, names, p.Child("requests"))...)
		errs = append(errs, validateDeviceConfig(&d.Config[i].DeviceConfiguration, p)...)
	}
	return errs
}

func validateDeviceRequest(r *resourcev1.DeviceRequest, names sets.Set[string], at *field.Path) field.ErrorList {
	errs := check(at.Child("name"), r.Name, validation.IsDNS1123Label(r.Name))
	if names.Has(r.Name) {
		errs = append(errs, field.Duplicate(at.Child("name"), r.Name))
	}
	names.Insert(r.Name)
	switch {
	case r.Exactly != nil && len(r.FirstAvailable) > 0:
		errs = append(errs, field.Invalid(at, field.OmitValueType{}, "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set"))
	case r.Exactly == nil && len(r.FirstAvailable) == 0:
		errs = append(errs, field.Required(at, "exactly one of `exactly` or `firstAvailable` is required"))
	case r.Exactly != nil:
		e, p := r.Exactly, at.Child("exactly")
		errs = append(errs, validateDeviceChoice(e.DeviceClassName, e.Selectors, e.AllocationMode, e.Count, p)...)
	}
	const most = 8
	if n := len(r.FirstAvailable); n > most {
		errs = append(errs, field.TooMany(at.Child("firstAvailable"), n, most))
	}
	for i, f := range r.FirstAvailable {
		p := at.Child("firstAvailable").Index(i)
		errs = append(errs, check(p.Child("name"), f.Name, validation.IsDNS1123Label(f.Name))...)
		full := r.Name + "/" + f.Name
		if names.Has(full) {
			errs = append(errs, field.Duplicate(p.Child("name"), f.Name))
		}
		names.Insert(full)
		errs = append(errs, validateDeviceChoice(f.DeviceClassName, f.Selectors, f.AllocationMode, f.Count, p)...)
	}
	return errs
}

func validateDeviceChoice(class string, selectors []resourcev1.DeviceSelector, mode resourcev1.DeviceAllocationMode, count int64, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if class == "" {
		errs = append(errs, field.Required(at.Child("deviceClassName"), ""))
	} else {
		errs = append(errs, check(at.Child("deviceClassName"), class, nameIsSubdomain(class, false))...)
	}
	errs = append(errs, validateDeviceSelectors(selectors, at.Child("selectors"))...)
	switch mode {
	case resourcev1.DeviceAllocationModeAll:
		if count != 0 {
			errs = append(errs, field.Invalid(at.Child("count"), count, fmt.Sprintf("must not be specified when allocationMode is '%s'", mode)))
		}
	case resourcev1.DeviceAllocationModeExactCount:
		if count <= 0 {
			errs = append(errs, field.Invalid(at.Child("count"), count, "must be greater than zero"))
		}
	default:
		errs = append(errs, field.NotSupported(at.Child("allocationMode"), mode, []resourcev1.DeviceAllocationMode{
			resourcev1.DeviceAllocationModeAll, resourcev1.DeviceAllocationModeExactCount}))
	}
	return errs
}

func validateDeviceSelectors(list []resourcev1.DeviceSelector, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(list) > maxSelectors {
		errs = append(errs, field.TooMany(at, len(list), maxSelectors))
	}
	for i, s := range list {
		p := at.Index(i).Child("cel")
		switch {
		case s.CEL == nil:
			errs = append(errs, field.Required(p, ""))
		case strings.TrimSpace(s.CEL.Expression) == "":
			errs = append(errs, field.Required(p.Child("expression"), ""))
		case len(s.CEL.Expression) > maxExpression:
			errs = append(errs, field.TooLong(p.Child("expression"), "", maxExpression))
		}
	}
	return errs
}

func knownRequests(list []string, names sets.Set[string], at *field.Path) field.ErrorList {
	var errs field.ErrorList
	seen := sets.Set[string]{}
	for i, n := range list {
		if !names.Has(n) {
			errs = append(errs, field.Invalid(at.Index(i), n, "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"))
		}
		if seen.Has(n) {
			errs = append(errs, field.Duplicate(at.Index(i), n))
		}
		seen.Insert(n)
	}
	return errs
}

func validateDeviceConfig(c *resourcev1.DeviceConfiguration, at *field.Path) field.ErrorList {
	if c.Opaque == nil {
		return field.ErrorList{field.Required(at, "exactly one of `opaque` is required")}
	}
	p := at.Child("opaque")
	errs := podspec.ValidateDriverName(c.Opaque.Driver, p.Child("driver"))
	return append(errs, validateOpaque(&c.Opaque.Parameters, p.Child("parameters"))...)
}

// validateOpaque wants parameters of a driver to be a JSON object.
func validateOpaque(raw *runtime.RawExtension, at *field.Path) field.ErrorList {
	if len(raw.Raw) == 0 {
		return field.ErrorList{field.Required(at, "")}
	}
	if len(raw.Raw) > maxOpaque {
		return field.ErrorList{field.TooLong(at, "", maxOpaque)}
	}
	var object map[string]any
	if err := json.Unmarshal(raw.Raw, &object); err != nil {
		return field.ErrorList{field.Invalid(at, "<value omitted>", fmt.Sprintf("error parsing data as JSON: %v", err))}
	}
	if object == nil {
		return field.ErrorList{field.Invalid(at, "<value omitted>", "must be a valid JSON object")}
	}
	return nil
}

// validateAttributeName wants domain/identifier.
func validateAttributeName(name string, at *field.Path) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(at, "name")}
	}
	domain, id, qualified := strings.Cut(name, "/")
	if !qualified {
		return field.ErrorList{field.Invalid(at, name, "must include a domain")}
	}
	errs := check(at, domain, validation.IsDNS1123Subdomain(domain))
	if !isIdentifier(id) || len(id) > 32 {
		errs = append(errs, field.Invalid(at, id, "must be a C identifier of at most 32 characters"))
	}
	return errs
}

func validateDeviceTaint(t *resourcev1.DeviceTaint, at *field.Path) field.ErrorList {
	errs := check(at.Child("key"), t.Key, nameIsQualified(t.Key))
	errs = append(errs, check(at.Child("value"), t.Value, validation.IsValidLabelValue(t.Value))...)
	return append(errs, requiredOneOf(at.Child("effect"), t.Effect,
		resourcev1.DeviceTaintEffectNoExecute, resourcev1.DeviceTaintEffectNoSchedule, resourcev1.DeviceTaintEffectNone)...)
}

// stampTaint gives a taint that evicts or keeps away the time that the API leaves to the server.
func stampTaint(t *resourcev1.DeviceTaint) {
	if t.TimeAdded == nil {
		now := metav1.Now().Rfc3339Copy()
		t.TimeAdded = &now
	}
}
