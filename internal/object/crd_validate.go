package object

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func validateCRD(c *crd) field.ErrorList {
	s := &c.Spec
	var errs field.ErrorList
	if want := s.Names.Plural + "." + s.Group; c.Name != want {
		errs = append(errs, field.Invalid(metadataPath.Child("name"), c.Name, "must be spec.names.plural+\".\"+spec.group"))
	}
	if s.Group == "" {
		errs = append(errs, field.Required(specPath.Child("group"), ""))
	} else if bad := validation.IsDNS1123Subdomain(s.Group); len(bad) > 0 {
		errs = append(errs, field.Invalid(specPath.Child("group"), s.Group, strings.Join(bad, ",")))
	} else if !strings.Contains(s.Group, ".") {
		errs = append(errs, field.Invalid(specPath.Child("group"), s.Group, "should be a domain with at least one dot"))
	}
	errs = append(errs, requiredOneOf(specPath.Child("scope"), s.Scope, apiextensionsv1.ClusterScoped, apiextensionsv1.NamespaceScoped)...)
	errs = append(errs, validateCRDNames(&s.Names, specPath.Child("names"))...)
	errs = append(errs, validateCRDVersions(s.Versions, specPath.Child("versions"))...)
	errs = append(errs, validateConversion(s.Conversion, specPath.Child("conversion"))...)
	return errs
}

// validateNewCRD is what definitions that were taken before, by older servers, need not heed.
func validateNewCRD(c *crd) field.ErrorList {
	return append(validateApproval(c), validatePreserve(c)...)
}

func validatePreserve(c *crd) field.ErrorList {
	if !c.Spec.PreserveUnknownFields {
		return nil
	}
	return field.ErrorList{field.Invalid(specPath.Child("preserveUnknownFields"), true,
		"cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead")}
}

func validateCRDNames(n *apiextensionsv1.CustomResourceDefinitionNames, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	label := func(name, value string, needed bool) {
		p := at.Child(name)
		switch {
		case value == "" && needed:
			errs = append(errs, field.Required(p, ""))
		case value != "":
			if bad := validation.IsDNS1035Label(strings.ToLower(value)); len(bad) > 0 {
				errs = append(errs, field.Invalid(p, value, "may have mixed case, but should otherwise match: "+strings.Join(bad, ",")))
			}
		}
	}
	for name, value := range map[string]string{"plural": n.Plural, "singular": n.Singular} {
		if value != strings.ToLower(value) {
			errs = append(errs, field.Invalid(at.Child(name), value, strings.Join(validation.IsDNS1035Label(value), ",")))
		}
	}
	label("plural", n.Plural, true)
	label("singular", n.Singular, false)
	label("kind", n.Kind, true)
	label("listKind", n.ListKind, true)
	for i, s := range n.ShortNames {
		if bad := validation.IsDNS1035Label(s); len(bad) > 0 {
			errs = append(errs, field.Invalid(at.Child("shortNames").Index(i), s, strings.Join(bad, ",")))
		}
	}
	for i, s := range n.Categories {
		if bad := validation.IsDNS1035Label(s); len(bad) > 0 {
			errs = append(errs, field.Invalid(at.Child("categories").Index(i), s, strings.Join(bad, ",")))
		}
	}
	if n.Kind != "" && n.Kind == n.ListKind {
		errs = append(errs, field.Invalid(at.Child("listKind"), n.ListKind, "kind and listKind may not be the same"))
	}
	return errs
}

func validateCRDVersions(list []apiextensionsv1.CustomResourceDefinitionVersion, at *field.Path) field.ErrorList {
	if len(list) == 0 {
		return field.ErrorList{field.Invalid(at, list, "must have exactly one version marked as storage version")}
	}
	var errs field.ErrorList
	names := sets.Set[string]{}
	stored := 0
	for i := range list {
		v, p := &list[i], at.Index(i)
		if names.Has(v.Name) {
			errs = append(errs, field.Invalid(at, v.Name, "must contain unique version names"))
		}
		names.Insert(v.Name)
		if bad := validation.IsDNS1035Label(v.Name); len(bad) > 0 {
			errs = append(errs, field.Invalid(p.Child("name"), v.Name, strings.Join(bad, ",")))
		}
		if v.Storage {
			stored++
		}
		if w := v.DeprecationWarning; w != nil {
			errs = append(errs, validateDeprecationWarning(v.Deprecated, *w, p.Child("deprecationWarning"))...)
		}
		errs = append(errs, validateCRDSchema(v.Schema, p.Child("schema"))...)
		errs = append(errs, validateCRDSubresources(v.Subresources, p.Child("subresources"))...)
		errs = append(errs, validatePrinterColumns(v.AdditionalPrinterColumns, p.Child("additionalPrinterColumns"))...)
		errs = append(errs, validateCRDFields(v.SelectableFields, p.Child("selectableFields"))...)
	}
	if stored != 1 {
		errs = append(errs, field.Invalid(at, names.UnsortedList(), "must have exactly one version marked as storage version"))
	}
	return errs
}

func validateDeprecationWarning(deprecated bool, text string, at *field.Path) field.ErrorList {
	const longest = 256
	var errs field.ErrorList
	if !deprecated {
		errs = append(errs, field.Invalid(at, text, "can only be set for deprecated versions"))
	}
	if text == "" {
		errs = append(errs, field.Invalid(at, text, "must not be an empty string"))
	}
	if len(text) > longest {
		errs = append(errs, field.Invalid(at, text, fmt.Sprintf("must be <= %d characters long", longest)))
	}
	if i := strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
		errs = append(errs, field.Invalid(at, text, fmt.Sprintf("must only contain printable UTF-8 characters; non-printable character found at index %d", i)))
	}
	return errs
}

// validateApproval wants a word of the Kubernetes community on definitions in its groups.
func validateApproval(c *crd) field.ErrorList {
	if !apihelpers.IsProtectedCommunityGroup(c.Spec.Group) {
		return nil
	}
	at := metadataPath.Child("annotations").Key(apiextensionsv1.KubeAPIApprovedAnnotation)
	switch state, reason := apihelpers.GetAPIApprovalState(c.Annotations); state {
	case apihelpers.APIApprovalMissing:
		return field.ErrorList{field.Required(at, reason)}
	case apihelpers.APIApprovalInvalid:
		return field.ErrorList{field.Invalid(at, c.Annotations[apiextensionsv1.KubeAPIApprovedAnnotation], reason)}
	}
	return nil
}

func validateCRDSubresources(s *apiextensionsv1.CustomResourceSubresources, at *field.Path) field.ErrorList {
	if s == nil || s.Scale == nil {
		return nil
	}
	var errs field.ErrorList
	under := func(name, path, root string, needed bool) {
		p := at.Child("scale", name)
		switch {
		case path == "" && needed:
			errs = append(errs, field.Required(p, ""))
		case path == "":
		case !strings.HasPrefix(path, "."):
			errs = append(errs, field.Invalid(p, path, "must be a simple json path starting with ."))
		case root == "" && !strings.HasPrefix(path, ".spec.") && !strings.HasPrefix(path, ".status."):
			errs = append(errs, field.Invalid(p, path, "should be a json path under either .spec or .status"))
		case root != "" && !strings.HasPrefix(path, root+"."):
			errs = append(errs, field.Invalid(p, path, "should be a json path under "+root))
		}
	}
	under("specReplicasPath", s.Scale.SpecReplicasPath, ".spec", true)
	under("statusReplicasPath", s.Scale.StatusReplicasPath, ".status", true)
	under("labelSelectorPath", deref(s.Scale.LabelSelectorPath, ""), "", false)
	return errs
}

// simplePath: fields joined by dots, no arrays.
func simplePath(path string) bool {
	rest, ok := strings.CutPrefix(path, ".")
	if !ok || strings.ContainsAny(path, "[]*?@ ") {
		return false
	}
	return !slices.Contains(strings.Split(rest, "."), "")
}

func validatePrinterColumns(list []apiextensionsv1.CustomResourceColumnDefinition, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, c := range list {
		p := at.Index(i)
		if c.Name == "" {
			errs = append(errs, field.Required(p.Child("name"), ""))
		}
		errs = append(errs, requiredOneOf(p.Child("type"), c.Type, "boolean", "date", "integer", "number", "string")...)
		if c.Format != "" {
			errs = append(errs, oneOf(p.Child("format"), c.Format, "byte", "date", "date-time", "double", "float", "int32", "int64", "password")...)
		}
		if c.JSONPath == "" {
			errs = append(errs, field.Required(p.Child("jsonPath"), ""))
		} else if !strings.HasPrefix(c.JSONPath, ".") {
			errs = append(errs, field.Invalid(p.Child("jsonPath"), c.JSONPath, "must be a simple json path starting with ."))
		}
	}
	return errs
}

func validateCRDFields(list []apiextensionsv1.SelectableField, at *field.Path) field.ErrorList {
	const most = 8
	var errs field.ErrorList
	if len(list) > most {
		errs = append(errs, field.TooMany(at, len(list), most))
	}
	seen := sets.Set[string]{}
	for i, f := range list {
		p := at.Index(i).Child("jsonPath")
		switch {
		case f.JSONPath == "":
			errs = append(errs, field.Required(p, ""))
		case !simplePath(f.JSONPath):
			errs = append(errs, field.Invalid(p, f.JSONPath, "is an invalid path: must be a simple json path"))
		case strings.HasPrefix(f.JSONPath, ".metadata"):
			errs = append(errs, field.Invalid(p, f.JSONPath, "must not point to fields in metadata"))
		case seen.Has(f.JSONPath):
			errs = append(errs, field.Duplicate(p, f.JSONPath))
		}
		seen.Insert(f.JSONPath)
	}
	return errs
}

func validateConversion(c *apiextensionsv1.CustomResourceConversion, at *field.Path) field.ErrorList {
	if c == nil {
		return nil
	}
	errs := requiredOneOf(at.Child("strategy"), c.Strategy, apiextensionsv1.NoneConverter, apiextensionsv1.WebhookConverter)
	p := at.Child("webhook")
	if c.Strategy != apiextensionsv1.WebhookConverter {
		if c.Webhook != nil {
			errs = append(errs, field.Forbidden(p, "should not be set when strategy is not set to Webhook"))
		}
		return errs
	}
	if c.Webhook == nil || c.Webhook.ClientConfig == nil {
		return append(errs, field.Required(p.Child("clientConfig"), "required when strategy is set to Webhook"))
	}
	w := c.Webhook.ClientConfig
	switch {
	case (w.URL == nil) == (w.Service == nil):
		errs = append(errs, field.Required(p.Child("clientConfig"), "exactly one of url or service is required"))
	case w.URL != nil:
		errs = append(errs, validateWebhookURL(*w.URL, p.Child("clientConfig", "url"))...)
	default:
		errs = append(errs, validateWebhookService(p.Child("clientConfig", "service"), w.Service.Name, w.Service.Namespace, w.Service.Path, deref(w.Service.Port, 443))...)
	}
	return append(errs, validateReviewVersions(c.Webhook.ConversionReviewVersions, p.Child("conversionReviewVersions"))...)
}

func validateStoredVersions(c *crd) field.ErrorList {
	var errs field.ErrorList
	for i, v := range c.Status.StoredVersions {
		if !slices.ContainsFunc(c.Spec.Versions, func(x apiextensionsv1.CustomResourceDefinitionVersion) bool { return x.Name == v }) {
			errs = append(errs, field.Invalid(statusPath.Child("storedVersions").Index(i), v, "missing from spec.versions; "+
				v+" was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in "+
				v+" and removes "+v+" from status.storedVersions"))
		}
	}
	return errs
}

func validateCRDUpdate(c, old *crd) field.ErrorList {
	errs := validateStoredVersions(c)
	if len(validateApproval(old)) == 0 {
		errs = append(errs, validateApproval(c)...)
	}
	if !old.Spec.PreserveUnknownFields {
		errs = append(errs, validatePreserve(c)...)
	}
	errs = append(errs, immutable(c.Spec.Group, old.Spec.Group, specPath.Child("group"))...)
	errs = append(errs, immutable(c.Spec.Names.Plural, old.Spec.Names.Plural, specPath.Child("names", "plural"))...)
	if apihelpers.IsCRDConditionTrue(old, apiextensionsv1.Established) {
		errs = append(errs, immutable(c.Spec.Scope, old.Spec.Scope, specPath.Child("scope"))...)
		errs = append(errs, immutable(c.Spec.Names.Kind, old.Spec.Names.Kind, specPath.Child("names", "kind"))...)
	}
	return errs
}
