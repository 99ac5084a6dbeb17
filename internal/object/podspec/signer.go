package podspec

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// maxSignerName is how long a signer's name may be: a domain and the name of a resource in a namespace.
const maxSignerName = 571

// ValidateSignerName judges the name of a signer of certificates: a domain, a slash, and a path of which dots part the segments.
func ValidateSignerName(name string, at *field.Path) errs {
	if name == "" {
		return errs{field.Required(at, "")}
	}
	domain, path, ok := strings.Cut(name, "/")
	if !ok || strings.Contains(path, "/") {
		return errs{field.Invalid(at, name, "must be a fully qualified domain and path of the form 'example.com/signer-name'")}
	}
	out := segments(domain, validation.IsDNS1123Label, at)
	if !strings.Contains(domain, ".") {
		out = append(out, field.Invalid(at, domain, "should be a domain with at least two segments separated by dots"))
	}
	out = append(out, segments(path, validation.IsDNS1123Subdomain, at)...)
	if len(name) > maxSignerName {
		out = append(out, field.TooLong(at, "", maxSignerName))
	}
	return out
}

// segments tells of the first segment that does not pass.
func segments(text string, judge func(string) []string, at *field.Path) errs {
	for _, label := range strings.Split(text, ".") {
		var out errs
		for _, bad := range judge(label) {
			out = append(out, field.Invalid(at, text, fmt.Sprintf("validating label %q: %s", label, bad)))
		}
		if len(out) > 0 {
			return out
		}
	}
	return nil
}

// ValidateUserAnnotations judges what a pod tells the signer of its certificate: annotations whose keys have a domain.
func ValidateUserAnnotations(annotations map[string]string, at *field.Path) errs {
	var out errs
	for _, key := range slices.Sorted(maps.Keys(annotations)) {
		lower := strings.ToLower(key)
		if bad := invalid(at, lower, validation.IsQualifiedName(lower)); len(bad) > 0 {
			out = append(out, bad...)
		} else if !strings.Contains(key, "/") {
			out = append(out, field.Invalid(at, key, `must be a domain-prefixed key (such as "acme.io/foo")`))
		}
	}
	if err := apivalidation.ValidateAnnotationsSize(annotations); err != nil {
		out = append(out, field.TooLong(at, "", apivalidation.TotalAnnotationSizeLimitB))
	}
	return out
}

// trustBundleName judges the name of a bundle of trust: where a signer's is before it, with colons for slashes, the two are judged apart.
func trustBundleName(name string, at *field.Path) errs {
	var out errs
	if i := strings.LastIndex(name, ":"); i >= 0 {
		out = ValidateSignerName(strings.ReplaceAll(name[:i], ":", "/"), at)
		name = name[i+1:]
	}
	for _, text := range subdomain(name) {
		out = append(out, field.Invalid(at, name, "not a valid clustertrustbundlename: "+text))
	}
	return out
}
