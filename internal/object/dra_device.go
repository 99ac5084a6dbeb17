package object

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/dynamic-resource-allocation/cel"
)

// What is said of devices, by those who offer and those who ask.

func validateDeviceSelectors(list []resourcev1.DeviceSelector, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(list) > resourcev1.DeviceSelectorsMaxSize {
		errs = append(errs, field.TooMany(at, len(list), resourcev1.DeviceSelectorsMaxSize))
	}
	for i, s := range list {
		p := at.Index(i).Child("cel")
		if s.CEL == nil {
			errs = append(errs, field.Required(p, ""))
		} else {
			errs = append(errs, validateDeviceExpression(s.CEL.Expression, p.Child("expression"))...)
		}
	}
	return errs
}

// validateDeviceExpression wants an expression that compiles, gives a bool and costs little.
func validateDeviceExpression(text string, at *field.Path) field.ErrorList {
	if len(text) > resourcev1.CELSelectorExpressionMaxLength {
		return field.ErrorList{field.TooLong(at, "", resourcev1.CELSelectorExpressionMaxLength)}
	}
	// Consumable capacity is a beta that is on.
	c := cel.GetCompiler(cel.Features{EnableConsumableCapacity: true})
	r := c.CompileCELExpression(text, cel.Options{EnvType: new(environment.NewExpressions)})
	if r.Error != nil {
		return field.ErrorList{field.Invalid(at, text, r.Error.Detail)}
	}
	if r.MaxCost > resourcev1.CELSelectorExpressionMaxCost {
		return field.ErrorList{field.Forbidden(at, "too complex, exceeds cost limit")}
	}
	return nil
}

func validateDeviceConfig(c *resourcev1.DeviceConfiguration, at *field.Path) field.ErrorList {
	p := at.Child("opaque")
	if c.Opaque == nil {
		return field.ErrorList{field.Required(p, "")}
	}
	errs := validateAttacher(c.Opaque.Driver, p.Child("driver"))
	return append(errs, validateOpaque(&c.Opaque.Parameters, p.Child("parameters"))...)
}

// validateOpaque wants parameters of a driver to be a JSON object.
func validateOpaque(raw *runtime.RawExtension, at *field.Path) field.ErrorList {
	const hidden = "<value omitted>"
	if len(raw.Raw) == 0 {
		return field.ErrorList{field.Required(at, "")}
	}
	if len(raw.Raw) > resourcev1.OpaqueParametersMaxLength {
		return field.ErrorList{field.TooLong(at, "", resourcev1.OpaqueParametersMaxLength)}
	}
	var value any
	if err := json.Unmarshal(raw.Raw, &value); err != nil {
		return field.ErrorList{field.Invalid(at, hidden, fmt.Sprintf("error parsing data as JSON: %v", err))}
	}
	if _, ok := value.(map[string]any); !ok {
		return field.ErrorList{field.Invalid(at, hidden, "must be a valid JSON object")}
	}
	return nil
}

// validateFullName wants domain/identifier.
func validateFullName(name string, at *field.Path) field.ErrorList {
	errs := validateDeviceName(name, at)
	if !strings.Contains(name, "/") {
		errs = append(errs, field.Invalid(at, name, "a fully qualified name must be a domain and a name separated by a slash"))
	}
	return errs
}

// validateDeviceName wants the name of an attribute or capacity: an identifier, which may have a domain before it.
func validateDeviceName(name string, at *field.Path) field.ErrorList {
	domain, id, qualified := strings.Cut(name, "/")
	if !qualified {
		return validateDeviceID(name, at)
	}
	var errs field.ErrorList
	switch {
	case domain == "":
		errs = append(errs, field.Required(at, "the domain must not be empty"))
	case len(domain) > resourcev1.DeviceMaxDomainLength:
		errs = append(errs, field.TooLong(at, "", resourcev1.DeviceMaxDomainLength))
	default:
		errs = append(errs, check(at, domain, validation.IsDNS1123Subdomain(domain))...)
	}
	if id == "" {
		return append(errs, field.Required(at, "the name must not be empty"))
	}
	return append(errs, validateDeviceID(id, at)...)
}

func validateDeviceID(id string, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(id) > resourcev1.DeviceMaxIDLength {
		errs = append(errs, field.TooLong(at, "", resourcev1.DeviceMaxIDLength))
	}
	return append(errs, check(at, id, validation.IsCIdentifier(id))...)
}

// semantic is the form of a version by semver.org, as its FAQ gives it.
var semantic = regexp.MustCompile(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-((?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?(?:\+([0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?$`)

func validateDeviceVersion(v string, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if !semantic.MatchString(v) {
		errs = append(errs, field.Invalid(at, v, "must be a string compatible with semver.org spec 2.0.0"))
	}
	return append(errs, notLonger(v, resourcev1.DeviceAttributeMaxValueLength, at)...)
}

func notLonger(s string, most int, at *field.Path) field.ErrorList {
	if len(s) > most {
		return field.ErrorList{field.TooLong(at, "", most)}
	}
	return nil
}

func validateDeviceTaint(t *resourcev1.DeviceTaint, at *field.Path) field.ErrorList {
	errs := check(at.Child("key"), t.Key, nameIsQualified(t.Key))
	errs = append(errs, check(at.Child("value"), t.Value, validation.IsValidLabelValue(t.Value))...)
	return append(errs, requiredOneOf(at.Child("effect"), t.Effect,
		resourcev1.DeviceTaintEffectNoExecute, resourcev1.DeviceTaintEffectNoSchedule, resourcev1.DeviceTaintEffectNone)...)
}
