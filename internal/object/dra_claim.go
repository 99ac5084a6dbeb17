package object

import (
	"fmt"
	"strings"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// validateClaimSpec judges what a claim asks for. The second part of the errors is of rules that the types declare, which are told after
// all others.
func validateClaimSpec(s *resourcev1.ResourceClaimSpec, at *field.Path) (errs, declared field.ErrorList) {
	at = at.Child("devices")
	d := &s.Devices
	tooMany := func(name string, n, most int) {
		if n > most {
			errs = append(errs, field.TooMany(at.Child(name), n, most))
		}
	}
	tooMany("requests", len(d.Requests), resourcev1.DeviceRequestsMaxSize)
	tooMany("constraints", len(d.Constraints), resourcev1.DeviceConstraintsMaxSize)
	tooMany("config", len(d.Config), resourcev1.DeviceConfigMaxSize)
	names := sets.Set[string]{}
	for i := range d.Requests {
		r, p := &d.Requests[i], at.Child("requests").Index(i)
		if names.Has(r.Name) {
			declared = append(declared, field.Duplicate(p, r))
		}
		bad, more := validateDeviceRequest(r, names, p)
		errs, declared = append(errs, bad...), append(declared, more...)
	}
	for i := range d.Constraints {
		errs = append(errs, validateConstraint(&d.Constraints[i], names, at.Child("constraints").Index(i))...)
	}
	for i := range d.Config {
		p := at.Child("config").Index(i)
		errs = append(errs, knownRequests(d.Config[i].Requests, names, p.Child("requests"))...)
		errs = append(errs, validateDeviceConfig(&d.Config[i].DeviceConfiguration, p)...)
	}
	return errs, declared
}

func validateConstraint(c *resourcev1.DeviceConstraint, names sets.Set[string], at *field.Path) field.ErrorList {
	errs := knownRequests(c.Requests, names, at.Child("requests"))
	if c.MatchAttribute == nil && c.DistinctAttribute == nil {
		return append(errs, field.Required(at, `exactly one of "matchAttribute" or "distinctAttribute" is required, but multiple fields are set`))
	}
	if a := c.MatchAttribute; a != nil {
		errs = append(errs, validateFullName(string(*a), at.Child("matchAttribute"))...)
	}
	if a := c.DistinctAttribute; a != nil {
		errs = append(errs, validateFullName(string(*a), at.Child("distinctAttribute"))...)
	}
	return errs
}

func validateDeviceRequest(r *resourcev1.DeviceRequest, names sets.Set[string], at *field.Path) (errs, declared field.ErrorList) {
	errs = check(at.Child("name"), r.Name, validation.IsDNS1123Label(r.Name))
	names.Insert(r.Name)
	both := r.Exactly != nil && len(r.FirstAvailable) > 0
	switch {
	case both:
		errs = append(errs, field.Invalid(at, nil, "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set"))
	case r.Exactly == nil && len(r.FirstAvailable) == 0:
		errs = append(errs, field.Required(at, "exactly one of `exactly` or `firstAvailable` is required"))
	case r.Exactly != nil:
		e, p := r.Exactly, at.Child("exactly")
		if e.DeviceClassName == "" {
			errs = append(errs, field.Required(p.Child("deviceClassName"), ""))
		} else {
			errs = append(errs, check(p.Child("deviceClassName"), e.DeviceClassName, nameIsSubdomain(e.DeviceClassName, false))...)
		}
		c := deviceChoice{e.Selectors, e.AllocationMode, e.Count, e.Tolerations}
		bad, more := c.validate(p)
		errs, declared = append(errs, bad...), append(declared, more...)
	}
	if n := len(r.FirstAvailable); n > resourcev1.FirstAvailableDeviceRequestMaxSize {
		errs = append(errs, field.TooMany(at.Child("firstAvailable"), n, resourcev1.FirstAvailableDeviceRequestMaxSize))
	}
	seen := sets.Set[string]{}
	for i := range r.FirstAvailable {
		f, p := &r.FirstAvailable[i], at.Child("firstAvailable").Index(i)
		if seen.Has(f.Name) {
			declared = append(declared, field.Duplicate(p, f))
		}
		seen.Insert(f.Name)
		names.Insert(r.Name + "/" + f.Name)
		if f.DeviceClassName == "" {
			declared = append(declared, field.Required(p.Child("deviceClassName"), ""))
		} else {
			declared = append(declared, check(p.Child("deviceClassName"), f.DeviceClassName, content.IsDNS1123Subdomain(f.DeviceClassName))...)
		}
		if both {
			continue
		}
		errs = append(errs, check(p.Child("name"), f.Name, validation.IsDNS1123Label(f.Name))...)
		c := deviceChoice{f.Selectors, f.AllocationMode, f.Count, f.Tolerations}
		bad, more := c.validate(p)
		errs, declared = append(errs, bad...), append(declared, more...)
	}
	return errs, declared
}

// deviceChoice is what a request and one of its alternatives have in common.
type deviceChoice struct {
	selectors   []resourcev1.DeviceSelector
	mode        resourcev1.DeviceAllocationMode
	count       int64
	tolerations []resourcev1.DeviceToleration
}

func (c *deviceChoice) validate(at *field.Path) (errs, declared field.ErrorList) {
	errs = validateDeviceSelectors(c.selectors, at.Child("selectors"))
	switch c.mode {
	case resourcev1.DeviceAllocationModeAll:
		if c.count != 0 {
			errs = append(errs, field.Invalid(at.Child("count"), c.count, fmt.Sprintf("must not be specified when allocationMode is '%s'", c.mode)))
		}
	case resourcev1.DeviceAllocationModeExactCount:
		if c.count <= 0 {
			errs = append(errs, field.Invalid(at.Child("count"), c.count, "must be greater than zero"))
		}
	default:
		declared = append(declared, field.NotSupported(at.Child("allocationMode"), c.mode, []resourcev1.DeviceAllocationMode{
			resourcev1.DeviceAllocationModeAll, resourcev1.DeviceAllocationModeExactCount}))
	}
	if n := len(c.tolerations); n > resourcev1.DeviceTolerationsMaxLength {
		errs = append(errs, field.TooMany(at.Child("tolerations"), n, resourcev1.DeviceTolerationsMaxLength))
	}
	for i := range c.tolerations {
		errs = append(errs, validateDeviceToleration(&c.tolerations[i], at.Child("tolerations").Index(i))...)
	}
	return errs, declared
}

func validateDeviceToleration(t *resourcev1.DeviceToleration, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if t.Key != "" {
		errs = append(errs, check(at.Child("key"), t.Key, nameIsQualified(t.Key))...)
	}
	switch t.Operator {
	case resourcev1.DeviceTolerationOpExists:
		if t.Value != "" {
			errs = append(errs, field.Invalid(at.Child("value"), t.Value, "must be empty for operator `Exists`"))
		}
	case resourcev1.DeviceTolerationOpEqual:
		errs = append(errs, check(at.Child("value"), t.Value, validation.IsValidLabelValue(t.Value))...)
	default:
		errs = append(errs, oneOf(at.Child("operator"), t.Operator, resourcev1.DeviceTolerationOpEqual, resourcev1.DeviceTolerationOpExists)...)
	}
	if t.Effect != "" {
		errs = append(errs, oneOf(at.Child("effect"), t.Effect,
			resourcev1.DeviceTaintEffectNoExecute, resourcev1.DeviceTaintEffectNoSchedule, resourcev1.DeviceTaintEffectNone)...)
	}
	return errs
}

// knownRequests wants names of a claim's requests, each once.
func knownRequests(list []string, names sets.Set[string], at *field.Path) field.ErrorList {
	var errs field.ErrorList
	seen := sets.Set[string]{}
	for i, n := range list {
		errs = append(errs, knownRequest(n, names, at.Index(i))...)
		if seen.Has(n) {
			errs = append(errs, field.Duplicate(at.Index(i), n))
		}
		seen.Insert(n)
	}
	return errs
}

// knownRequest wants the name of a request of the claim, or of an alternative of one.
func knownRequest(name string, names sets.Set[string], at *field.Path) field.ErrorList {
	var errs field.ErrorList
	request, alternative, has := strings.Cut(name, "/")
	if why := validation.IsDNS1123Label(request); len(why) > 0 {
		errs = append(errs, check(at, request, why)...)
	}
	if has {
		errs = append(errs, check(at, alternative, validation.IsDNS1123Label(alternative))...)
	}
	if !names.Has(name) {
		errs = append(errs, field.Invalid(at, name, "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"))
	}
	return errs
}
