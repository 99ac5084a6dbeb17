package crd

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

var schemaTypes = []string{"array", "boolean", "integer", "number", "object", "string"}

// judgeShape finds what the structural form of a schema cannot say is wrong: types that there are not, and lists and maps whose
// merging is not defined.
func judgeShape(s *apiextensions.JSONSchemaProps, at *field.Path) (shape, lists field.ErrorList) {
	if s.Nullable {
		shape = append(shape, field.Forbidden(at.Child("nullable"), "nullable cannot be true at the root"))
	}
	if meta, ok := s.Properties["metadata"]; ok && meta.Default != nil {
		shape = append(shape, field.Forbidden(at.Child("properties").Key("metadata").Child("default"), "must not be set in top-level metadata"))
	}
	visit(s, at, func(s *apiextensions.JSONSchemaProps, at *field.Path) {
		shape = append(shape, judgeType(s, at)...)
		lists = append(lists, judgeList(s, at)...)
	})
	return shape, lists
}

// rootFields are what a schema may say at its root when objects have a status of their own.
var rootFields = []string{"Description", "Type", "Format", "Title", "Maximum", "ExclusiveMaximum", "Minimum", "ExclusiveMinimum", "MaxLength", "MinLength",
	"Pattern", "MaxItems", "MinItems", "UniqueItems", "MultipleOf", "Required", "Items", "Properties", "ExternalDocs", "Example", "XPreserveUnknownFields", "XValidations"}

// judgeRoot finds what could not be judged for spec and status apart.
func judgeRoot(s *apiextensions.JSONSchemaProps, at *field.Path) field.ErrorList {
	const when = "if the status subresource is enabled"
	var errs field.ErrorList
	if s.Type != "" && s.Type != "object" {
		errs = append(errs, field.Invalid(at.Child("type"), s.Type, `only "object" is allowed as the type at the root of the schema `+when))
	}
	v := reflect.ValueOf(s).Elem()
	for i := range v.NumField() {
		if !v.Field(i).IsZero() && !slices.Contains(rootFields, v.Type().Field(i).Name) {
			return append(errs, field.Invalid(at, s, fmt.Sprintf("only %v fields are allowed at the root of the schema %s", rootFields, when)))
		}
	}
	return errs
}

// visit calls f for a schema and those within.
func visit(s *apiextensions.JSONSchemaProps, at *field.Path, f func(*apiextensions.JSONSchemaProps, *field.Path)) {
	f(s, at)
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		p := s.Properties[name]
		visit(&p, at.Child("properties").Key(name), f)
	}
	if s.Items != nil && s.Items.Schema != nil {
		visit(s.Items.Schema, at.Child("items"), f)
	}
	if s.AdditionalProperties != nil && s.AdditionalProperties.Schema != nil {
		visit(s.AdditionalProperties.Schema, at.Child("additionalProperties"), f)
	}
	for _, x := range []struct {
		name string
		list []apiextensions.JSONSchemaProps
	}{{"allOf", s.AllOf}, {"anyOf", s.AnyOf}, {"oneOf", s.OneOf}} {
		for i := range x.list {
			visit(&x.list[i], at.Child(x.name).Index(i), f)
		}
	}
	if s.Not != nil {
		visit(s.Not, at.Child("not"), f)
	}
}

func judgeType(s *apiextensions.JSONSchemaProps, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if s.Type != "" && !slices.Contains(schemaTypes, s.Type) {
		errs = append(errs, field.NotSupported(at.Child("type"), s.Type, schemaTypes))
	}
	if s.Type == "null" {
		errs = append(errs, field.Forbidden(at.Child("type"), "type cannot be set to null, use nullable as an alternative"))
	}
	if x := s.XPreserveUnknownFields; x != nil && !*x {
		errs = append(errs, field.Invalid(at.Child(preserveUnknown), false, "must be true or undefined"))
	}
	if s.Items != nil && len(s.Items.JSONSchemas) > 0 {
		errs = append(errs, field.Forbidden(at.Child("items"), "items must be a schema object and not an array"))
	}
	errs = append(errs, judgeUnsupported(s, at)...)
	if s.UniqueItems {
		errs = append(errs, field.Forbidden(at.Child("uniqueItems"), "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"))
	}
	if s.AdditionalProperties != nil && len(s.Properties) > 0 {
		errs = append(errs, field.Forbidden(at.Child("additionalProperties"), "additionalProperties and properties are mutual exclusive"))
	}
	if t := s.XMapType; t != nil {
		if s.Type != "object" {
			errs = append(errs, wrongType(at, s.Type, "must be object if x-kubernetes-map-type is specified"))
		}
		if *t != "atomic" && *t != "granular" {
			errs = append(errs, field.NotSupported(at.Child("x-kubernetes-map-type"), *t, []string{"atomic", "granular"}))
		}
	}
	return errs
}

// judgeUnsupported finds what JSON schema has and structural schemas do not.
func judgeUnsupported(s *apiextensions.JSONSchemaProps, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, x := range []struct {
		name string
		used bool
	}{
		{"$ref", s.Ref != nil}, {"id", s.ID != ""}, {"additionalItems", s.AdditionalItems != nil}, {"patternProperties", len(s.PatternProperties) > 0},
		{"definitions", len(s.Definitions) > 0}, {"dependencies", len(s.Dependencies) > 0},
	} {
		if x.used {
			errs = append(errs, field.Forbidden(at.Child(x.name), x.name+" is not supported"))
		}
	}
	return errs
}

func wrongType(at *field.Path, have, text string) *field.Error {
	if have == "" {
		return field.Required(at.Child("type"), text)
	}
	return field.Invalid(at.Child("type"), have, text)
}

func judgeList(s *apiextensions.JSONSchemaProps, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	kind := ""
	if t := s.XListType; t != nil {
		kind = *t
		if s.Type != "array" {
			errs = append(errs, wrongType(at, s.Type, "must be array if x-kubernetes-list-type is specified"))
		}
		if kind != "atomic" && kind != "set" && kind != "map" {
			errs = append(errs, field.NotSupported(at.Child("x-kubernetes-list-type"), kind, []string{"atomic", "set", "map"}))
		}
	}
	switch within := s.Items != nil && s.Items.Schema != nil; {
	case kind == "set" && within:
		errs = append(errs, judgeSet(s.Items.Schema, at.Child("items"))...)
	case kind == "map" && within:
		errs = append(errs, judgeMapList(s, at)...)
	case kind == "map":
		errs = append(errs, field.Required(at.Child("items"), "must have a schema if x-kubernetes-list-type is map"))
	}
	if len(s.XListMapKeys) > 0 && kind != "map" {
		const text = "must be map if x-kubernetes-list-map-keys is non-empty"
		if s.XListType == nil {
			errs = append(errs, field.Required(at.Child("x-kubernetes-list-type"), text))
		} else {
			errs = append(errs, field.Invalid(at.Child("x-kubernetes-list-type"), kind, text))
		}
	}
	return errs
}

// judgeSet wants values that are compared as a whole.
func judgeSet(item *apiextensions.JSONSchemaProps, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if item.Nullable {
		errs = append(errs, field.Forbidden(at.Child("nullable"), "cannot be nullable when x-kubernetes-list-type is set"))
	}
	const text = "must be atomic as item of a list with x-kubernetes-list-type=set"
	switch {
	case item.Type == "object" && (item.XMapType == nil || *item.XMapType != "atomic"):
		errs = append(errs, field.Invalid(at.Child("x-kubernetes-map-type"), item.XMapType, text))
	case item.Type == "array" && item.XListType != nil && *item.XListType != "atomic":
		errs = append(errs, field.Invalid(at.Child("x-kubernetes-list-type"), item.XListType, text))
	}
	return errs
}

// judgeMapList wants objects that can be told apart by their keys.
func judgeMapList(s *apiextensions.JSONSchemaProps, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	item, in, keys, where := s.Items.Schema, at.Child("items"), s.XListMapKeys, at.Child("x-kubernetes-list-map-keys")
	if len(keys) == 0 {
		errs = append(errs, field.Required(where, "must not be empty if x-kubernetes-list-type is map"))
	}
	if item.Nullable {
		errs = append(errs, field.Forbidden(in.Child("nullable"), "cannot be nullable when x-kubernetes-list-type is map"))
	}
	if item.Type != "object" {
		errs = append(errs, wrongType(in, item.Type, "must be object if parent array's x-kubernetes-list-type is map"))
	}
	for i, k := range keys {
		if p, ok := item.Properties[k]; ok {
			errs = append(errs, judgeMapKey(item, &p, k, in.Child("properties").Key(k))...)
		} else if item.Type == "object" {
			errs = append(errs, field.Invalid(where, keys, "entries must all be names of item properties"))
		}
		if slices.Contains(keys[:i], k) {
			errs = append(errs, field.Invalid(where, keys, "must not contain duplicate entries"))
		}
	}
	return errs
}

// judgeMapKey wants a property that every item has as a simple value.
func judgeMapKey(item, p *apiextensions.JSONSchemaProps, name string, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if p.Type == "object" || p.Type == "array" {
		errs = append(errs, field.Invalid(at.Child("type"), item.Type, "must be a scalar type if parent array's x-kubernetes-list-type is map"))
	}
	if p.Default == nil && !slices.Contains(item.Required, name) {
		errs = append(errs, field.Required(at.Child("default"), "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"))
	}
	if p.Nullable {
		errs = append(errs, field.Forbidden(at.Child("nullable"), "this property is in x-kubernetes-list-map-keys, so it cannot be nullable"))
	}
	return errs
}

// judgeRuleTexts looks at the rules of a schema as far as they need not be compiled for it.
func judgeRuleTexts(s *apiextensions.JSONSchemaProps, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	visit(s, at, func(s *apiextensions.JSONSchemaProps, at *field.Path) {
		for i := range s.XValidations {
			r, p := &s.XValidations[i], at.Child("x-kubernetes-validations").Index(i)
			errs = append(errs, judgeTexts(r, p)...)
			if r.FieldPath == "" {
				continue
			}
			form, err := structuralschema.NewStructural(s.DeepCopy())
			if err == nil {
				_, _, err = cel.ValidFieldPath(r.FieldPath, form, cel.WithFieldPathAllowArrayNotation(true))
			}
			if err != nil {
				errs = append(errs, field.Invalid(p.Child("fieldPath"), r.FieldPath, "must be a valid path"))
			}
		}
	})
	return errs
}

// judgeTexts looks at what a rule says besides its expressions.
func judgeTexts(r *apiextensions.ValidationRule, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	blank := func(s string) bool { return s != "" && strings.TrimSpace(s) == "" }
	broken := func(s string) bool { return strings.ContainsAny(s, "\n\r") }
	if strings.TrimSpace(r.Rule) == "" {
		errs = append(errs, field.Required(at.Child("rule"), "rule is not specified"))
	}
	switch {
	case strings.TrimSpace(r.Rule) == "":
	case blank(r.Message):
		errs = append(errs, field.Invalid(at.Child("message"), r.Message, "must be non-empty if specified"))
	case broken(strings.TrimSpace(r.Message)):
		errs = append(errs, field.Invalid(at.Child("message"), r.Message, "must not contain line breaks"))
	case broken(strings.TrimSpace(r.Rule)) && r.Message == "":
		errs = append(errs, field.Required(at.Child("message"), "message must be specified if rule contains line breaks"))
	}
	if blank(r.MessageExpression) {
		errs = append(errs, field.Required(at.Child("messageExpression"), "messageExpression must be non-empty if specified"))
	}
	if r.Reason != nil && !slices.Contains(reasons, string(*r.Reason)) {
		errs = append(errs, field.NotSupported(at.Child("reason"), *r.Reason, reasons))
	}
	if blank(r.FieldPath) {
		errs = append(errs, field.Invalid(at.Child("fieldPath"), r.FieldPath, "must be non-empty if specified"))
	} else if broken(r.FieldPath) {
		errs = append(errs, field.Invalid(at.Child("fieldPath"), r.FieldPath, "must not contain line breaks"))
	}
	return errs
}
