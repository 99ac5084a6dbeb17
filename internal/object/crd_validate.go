package object

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// crdNameRule wants the one name that a definition can have.
func crdNameRule(c *crd) NameRule {
	want := c.Spec.Names.Plural + "." + c.Spec.Group
	return func(name string, prefix bool) []string {
		bad := nameIsSubdomain(name, prefix)
		if name != want {
			bad = append(bad, "must be spec.names.plural+\".\"+spec.group")
		}
		return bad
	}
}

func validateCRD(c *crd) field.ErrorList {
	s := &c.Spec
	var errs field.ErrorList
	if s.Group == "" {
		errs = append(errs, field.Required(specPath.Child("group"), ""))
	} else if bad := validation.IsDNS1123Subdomain(s.Group); len(bad) > 0 {
		errs = append(errs, field.Invalid(specPath.Child("group"), s.Group, strings.Join(bad, ",")))
	} else if !strings.Contains(s.Group, ".") {
		errs = append(errs, field.Invalid(specPath.Child("group"), s.Group, "should be a domain with at least one dot"))
	}
	errs = append(errs, requiredOneOf(specPath.Child("scope"), s.Scope, apiextensionsv1.ClusterScoped, apiextensionsv1.NamespaceScoped)...)
	if s.PreserveUnknownFields && slices.ContainsFunc(s.Versions, hasDefaults) {
		errs = append(errs, field.Invalid(specPath.Child("preserveUnknownFields"), true, "must be false in order to use defaults in the schema"))
	}
	common, err := CommonCRD(c)
	if err != nil {
		return append(errs, field.Invalid(specPath, "", err.Error()))
	}
	in := &common.Spec
	errs = append(errs, validateCRDVersions(in.Versions, s.Versions, specPath.Child("versions"))...)
	if bad := validation.IsDNS1035Label(in.Version); len(bad) > 0 && in.Version != "" {
		errs = append(errs, field.Invalid(specPath.Child("version"), in.Version, strings.Join(bad, ",")))
	}
	errs = append(errs, validateCRDNames(&s.Names, specPath.Child("names"))...)
	errs = append(errs, validateCRDSubresources(in.Subresources, specPath.Child("subresources"))...)
	errs = append(errs, validatePrinterColumns(in.AdditionalPrinterColumns, specPath.Child("additionalPrinterColumns"))...)
	at := specPath.Child("conversion")
	if s.PreserveUnknownFields && in.Conversion != nil && in.Conversion.Strategy == apiextensions.WebhookConverter {
		errs = append(errs, field.Invalid(at.Child("strategy"), in.Conversion.Strategy, "must be None if spec.preserveUnknownFields is true"))
	}
	return append(errs, validateConversion(in.Conversion, at)...)
}

// validateStorageStored wants the version in which objects are stored among those that there may be objects of.
func validateStorageStored(c *crd) field.ErrorList {
	at := statusPath.Child("storedVersions")
	if len(c.Status.StoredVersions) == 0 {
		return field.ErrorList{field.Invalid(at, c.Status.StoredVersions, "must have at least one stored version")}
	}
	var errs field.ErrorList
	stored := sets.New(c.Status.StoredVersions...)
	for _, v := range c.Spec.Versions {
		if v.Storage && !stored.Has(v.Name) {
			errs = append(errs, field.Invalid(at, c.Status.StoredVersions, "must have the storage version "+v.Name))
		}
		stored.Delete(v.Name) // of two versions of one name only the first can be the stored one
	}
	return errs
}

// validateNewCRD is what definitions that were taken before, by older servers, need not heed.
func validateNewCRD(c *crd) field.ErrorList {
	return slices.Concat(validateApproval(c), validatePreserve(c), validateStorageStored(c), validateStoredVersions(c))
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
	for _, x := range []struct{ name, value string }{{"plural", n.Plural}, {"singular", n.Singular}, {"kind", n.Kind}, {"listKind", n.ListKind}} {
		if x.value == "" {
			errs = append(errs, field.Required(at.Child(x.name), ""))
		}
	}
	return append(errs, validateGivenNames(n, at)...)
}

// validateGivenNames judges the names that are there.
func validateGivenNames(n *apiextensionsv1.CustomResourceDefinitionNames, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	label := func(name, value, label, text string) {
		p := at.Child(name)
		if value == "" {
			return
		}
		if bad := validation.IsDNS1035Label(label); len(bad) > 0 {
			errs = append(errs, field.Invalid(p, value, text+strings.Join(bad, ",")))
		}
	}
	const mixed = "may have mixed case, but should otherwise match: "
	label("plural", n.Plural, n.Plural, "")
	label("singular", n.Singular, n.Singular, "")
	label("kind", n.Kind, strings.ToLower(n.Kind), mixed)
	label("listKind", n.ListKind, strings.ToLower(n.ListKind), mixed)
	for i, s := range n.ShortNames {
		if bad := validation.IsDNS1035Label(s); len(bad) > 0 {
			errs = append(errs, field.Invalid(at.Child("shortNames").Index(i), s, strings.Join(bad, ",")))
		}
	}
	if n.Kind != "" && n.Kind == n.ListKind {
		errs = append(errs, field.Invalid(at.Child("listKind"), n.ListKind, "kind and listKind may not be the same"))
	}
	for i, s := range n.Categories {
		if bad := validation.IsDNS1035Label(s); len(bad) > 0 {
			errs = append(errs, field.Invalid(at.Child("categories").Index(i), s, strings.Join(bad, ",")))
		}
	}
	return errs
}

// validateCRDVersions judges what each version has of its own, in list; full are the versions with what they have in common.
func validateCRDVersions(list []apiextensions.CustomResourceDefinitionVersion, full []apiextensionsv1.CustomResourceDefinitionVersion, at *field.Path) field.ErrorList {
	if len(list) == 0 {
		return field.ErrorList{field.Invalid(at, full, "must have exactly one version marked as storage version")}
	}
	var errs field.ErrorList
	names := sets.Set[string]{}
	stored := 0
	for i := range list {
		v, p := &list[i], at.Index(i)
		names.Insert(v.Name)
		if schemaOf(&full[i]) == nil {
			errs = append(errs, field.Required(p.Child("schema", "openAPIV3Schema"), ""))
		}
		if bad := validation.IsDNS1035Label(v.Name); len(bad) > 0 {
			errs = append(errs, field.Invalid(p.Child("name"), v.Name, strings.Join(bad, ",")))
		}
		if v.Storage {
			stored++
		}
		if w := v.DeprecationWarning; w != nil {
			errs = append(errs, validateDeprecationWarning(v.Deprecated, *w, p.Child("deprecationWarning"))...)
		}
		errs = append(errs, validateCRDSubresources(v.Subresources, p.Child("subresources"))...)
		errs = append(errs, validatePrinterColumns(v.AdditionalPrinterColumns, p.Child("additionalPrinterColumns"))...)
	}
	for i := range full {
		if schemaOf(&full[i]) == nil && len(full[i].SelectableFields) > 0 {
			errs = append(errs, field.Invalid(at.Index(i).Child("selectableFields"), "", "may only be set when `version.schema.openAPIV3Schema` is not included"))
		}
	}
	if len(names) < len(list) {
		errs = append(errs, field.Invalid(at, list, "must contain unique version names"))
	}
	if stored != 1 {
		errs = append(errs, field.Invalid(at, list, "must have exactly one version marked as storage version"))
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

func validateCRDSubresources(s *apiextensions.CustomResourceSubresources, at *field.Path) field.ErrorList {
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

var (
	columnTypes   = []string{"boolean", "date", "integer", "number", "string"}
	columnFormats = []string{"byte", "date", "date-time", "double", "float", "int32", "int64", "password"}
)

func oneOfText(list []string) string { return "must be one of " + strings.Join(list, ",") }

func validatePrinterColumns(list []apiextensions.CustomResourceColumnDefinition, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, c := range list {
		p := at.Index(i)
		if c.Name == "" {
			errs = append(errs, field.Required(p.Child("name"), ""))
		}
		if c.Type == "" {
			errs = append(errs, field.Required(p.Child("type"), oneOfText(columnTypes)))
		} else if !slices.Contains(columnTypes, c.Type) {
			errs = append(errs, field.Invalid(p.Child("type"), c.Type, oneOfText(columnTypes)))
		}
		if c.Format != "" && !slices.Contains(columnFormats, c.Format) {
			errs = append(errs, field.Invalid(p.Child("format"), c.Format, oneOfText(columnFormats)))
		}
		if c.JSONPath == "" {
			errs = append(errs, field.Required(p.Child("JSONPath"), ""))
		} else if !strings.HasPrefix(c.JSONPath, ".") {
			errs = append(errs, field.Invalid(p.Child("JSONPath"), c.JSONPath, "must be a simple json path starting with ."))
		}
	}
	return errs
}

func validateConversion(c *apiextensions.CustomResourceConversion, at *field.Path) field.ErrorList {
	if c == nil {
		return nil
	}
	errs := requiredOneOf(at.Child("strategy"), c.Strategy, apiextensions.NoneConverter, apiextensions.WebhookConverter)
	client, versions := at.Child("webhookClientConfig"), at.Child("conversionReviewVersions")
	if c.Strategy != apiextensions.WebhookConverter {
		const text = "should not be set when strategy is not set to Webhook"
		if c.WebhookClientConfig != nil {
			errs = append(errs, field.Forbidden(client, text))
		}
		if len(c.ConversionReviewVersions) > 0 {
			errs = append(errs, field.Forbidden(versions, text))
		}
		return errs
	}
	w := c.WebhookClientConfig
	switch {
	case w == nil:
		errs = append(errs, field.Required(client, "required when strategy is set to Webhook"))
	case (w.URL == nil) == (w.Service == nil):
		errs = append(errs, field.Required(client, "exactly one of url or service is required"))
	case w.URL != nil:
		errs = append(errs, validateWebhookURL(*w.URL, client.Child("url"))...)
	default:
		// Of a service without one of the two, clients are told that the other is missing.
		errs = append(errs, validateWebhookService(client.Child("service"), w.Service.Namespace, w.Service.Name, w.Service.Path, w.Service.Port)...)
	}
	if len(c.ConversionReviewVersions) == 0 {
		return append(errs, field.Required(versions, ""))
	}
	return append(errs, validateReviewVersions(c.ConversionReviewVersions, versions)...)
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
	errs := validateCRDMetaAgain(c, old)
	if apihelpers.IsCRDConditionTrue(old, apiextensionsv1.Established) {
		errs = append(errs, immutable(c.Spec.Scope, old.Spec.Scope, specPath.Child("scope"))...)
		errs = append(errs, immutable(c.Spec.Names.Kind, old.Spec.Names.Kind, specPath.Child("names", "kind"))...)
	}
	errs = append(errs, immutable(c.Spec.Group, old.Spec.Group, specPath.Child("group"))...)
	errs = append(errs, immutable(c.Spec.Names.Plural, old.Spec.Names.Plural, specPath.Child("names", "plural"))...)
	errs = append(errs, validateStorageStored(c)...)
	errs = append(errs, validateStoredVersions(c)...)
	if len(validateApproval(old)) == 0 {
		errs = append(errs, validateApproval(c)...)
	}
	if !old.Spec.PreserveUnknownFields {
		errs = append(errs, validatePreserve(c)...)
	}
	if CRDBundleError(old) == nil {
		if err := CRDBundleError(c); err != nil {
			errs = append(errs, field.Invalid(specPath.Child("conversion", "webhookClientConfig", "caBundle"), c.Spec.Conversion.Webhook.ClientConfig.CABundle, err.Error()))
		}
	}
	return errs
}

// CRDBundleError says what keeps the certificates that a definition's conversion webhook is to be known by from being used; nil where
// they can be or there are none. A definition may be created so; until it is mended, its objects are not served.
func CRDBundleError(c *apiextensionsv1.CustomResourceDefinition) error {
	conv := c.Spec.Conversion
	if conv == nil || conv.Webhook == nil || conv.Webhook.ClientConfig == nil || len(conv.Webhook.ClientConfig.CABundle) == 0 {
		return nil
	}
	return bundleError(conv.Webhook.ClientConfig.CABundle)
}

// validateCRDStatus judges what is told of a definition.
func validateCRDStatus(c, old *crd) field.ErrorList {
	return append(validateCRDMetaAgain(c, old), validateGivenNames(&c.Status.AcceptedNames, statusPath.Child("acceptedNames"))...)
}

// validateCRDMetaAgain repeats what there is to say of changed metadata, since clients are told so of this kind.
func validateCRDMetaAgain(c, old *crd) field.ErrorList {
	anyName := func(string, bool) []string { return nil }
	return append(ValidateMetaUpdate(c, old), ValidateMeta(c, Cluster, anyName)...)
}
