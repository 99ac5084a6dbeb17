package podspec

import (
	"slices"
	"strings"

	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

type errs = field.ErrorList

// invalid turns what a validation function of apimachinery complains of into errors.
func invalid(at *field.Path, value any, complaints []string) errs {
	var out errs
	for _, c := range complaints {
		out = append(out, field.Invalid(at, value, c))
	}
	return out
}

// required wants a text to be there and, when it is, to pass the check.
func required(at *field.Path, value string, check func(string) []string) errs {
	if value == "" {
		return errs{field.Required(at, "")}
	}
	if check == nil {
		return nil
	}
	return invalid(at, value, check(value))
}

// optional checks a text when it is there.
func optional(at *field.Path, value string, check func(string) []string) errs {
	if value == "" {
		return nil
	}
	return invalid(at, value, check(value))
}

// oneOf wants a value to be one of those listed.
func oneOf[T ~string](at *field.Path, value T, allowed ...T) errs {
	if slices.Contains(allowed, value) {
		return nil
	}
	return errs{field.NotSupported(at, value, allowed)}
}

// requiredOneOf is oneOf for a field that has to be set.
func requiredOneOf[T ~string](at *field.Path, value T, allowed ...T) errs {
	if value == "" {
		return errs{field.Required(at, "")}
	}
	return oneOf(at, value, allowed...)
}

func nonNegative(at *field.Path, value int64) errs {
	return apivalidation.ValidateNonnegativeField(value, at)
}

func subdomain(name string) []string { return apivalidation.NameIsDNSSubdomain(name, false) }

// unique remembers names and complains of those that come twice.
type unique sets.Set[string]

func (u unique) add(at *field.Path, name string) errs {
	s := sets.Set[string](u)
	if s.Has(name) {
		return errs{field.Duplicate(at, name)}
	}
	s.Insert(name)
	return nil
}

func portOrName(at *field.Path, port intstr.IntOrString) errs {
	if port.Type == intstr.Int {
		return invalid(at, port.IntValue(), validation.IsValidPortNum(port.IntValue()))
	}
	return invalid(at, port.StrVal, validation.IsValidPortName(port.StrVal))
}

func labelSelector(s *metav1.LabelSelector, at *field.Path) errs {
	return metavalidation.ValidateLabelSelector(s, metavalidation.LabelSelectorValidationOptions{}, at)
}

// relativePath wants a path that stays inside its directory.
func relativePath(at *field.Path, path string) errs {
	var out errs
	if strings.HasPrefix(path, "/") {
		out = append(out, field.Invalid(at, path, "must be a relative path"))
	}
	return append(out, noBacksteps(at, path)...)
}

func noBacksteps(at *field.Path, path string) errs {
	if slices.Contains(strings.FieldsFunc(path, func(r rune) bool { return r == '/' || r == '\\' }), "..") {
		return errs{field.Invalid(at, path, "must not contain '..'")}
	}
	return nil
}

// fileName wants a relative path of a file inside a volume that is not one of the volume's own (..data).
func fileName(at *field.Path, path string) errs {
	if path == "" {
		return errs{field.Required(at, "")}
	}
	out := relativePath(at, path)
	if strings.HasPrefix(path, "..") && !strings.HasPrefix(path, "../") {
		out = append(out, field.Invalid(at, path, "must not start with '..'"))
	}
	return out
}

func validateAnnotations(a map[string]string, at *field.Path) errs {
	return apivalidation.ValidateAnnotations(a, at)
}
