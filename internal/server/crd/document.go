package crd

import (
	"fmt"
	"slices"
	"sync"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"hyperkube/internal/object"
	"hyperkube/internal/server/openapi"
)

const (
	embeddedResource = "x-kubernetes-embedded-resource"
	preserveUnknown  = "x-kubernetes-preserve-unknown-fields"
	intOrString      = "x-kubernetes-int-or-string"
)

// document gives the schema of a version as OpenAPI shows it: what the definition says, with the metadata that all objects have.
func document(s *versionSchema, v2 bool) (*spec.Schema, error) {
	out := &spec.Schema{}
	props, err := s.props()
	if err != nil {
		return nil, fmt.Errorf("OpenAPI schema: %w", err)
	}
	if err := validation.ConvertJSONSchemaProps(props, out); err != nil {
		return nil, fmt.Errorf("OpenAPI schema: %w", err)
	}
	retype(out, props)
	if is, _ := out.Extensions[preserveUnknown].(bool); is && v2 {
		// Clients of version 2 take the fields that they know for all: of objects that may have others they are told none.
		return (&spec.Schema{}).Typed("object", ""), nil
	}
	if v2 {
		simplify(out)
	} else {
		each(out, nameBoth)
	}
	embed(out, v2)
	addMetadata(out, v2, metav1.TypeMeta{}.SwaggerDoc())
	return out, nil
}

// addMetadata gives an object the fields that every object of the API has.
func addMetadata(s *spec.Schema, v2 bool, text map[string]string) {
	if s.Properties == nil {
		s.Properties = map[string]spec.Schema{}
	}
	for _, name := range []string{"apiVersion", "kind"} {
		s.Properties[name] = *spec.StringProperty().WithDescription(text[name])
	}
	const description = "Standard object's metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata"
	s.Properties["metadata"] = *reference(openapi.ObjectMeta, v2).WithDescription(description)
}

func reference(model string, v2 bool) *spec.Schema {
	if v2 {
		return spec.RefSchema("#/definitions/" + model)
	}
	return &spec.Schema{SchemaProps: spec.SchemaProps{AllOf: []spec.Schema{*spec.RefSchema("#/components/schemas/" + model)}}}
}

var embeddedText = map[string]string{
	"apiVersion": "apiVersion defines the versioned schema of this representation of an object. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources",
	"kind":       "kind is a string value representing the type of this object. In CamelCase. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds",
}

// embed gives whole objects inside of an object their metadata.
func embed(s *spec.Schema, v2 bool) {
	each(s, func(inner *spec.Schema) {
		if loose, _ := inner.Extensions[preserveUnknown].(bool); loose && v2 {
			return
		}
		if is, _ := inner.Extensions[embeddedResource].(bool); is {
			addMetadata(inner, v2, embeddedText)
			for _, name := range []string{"kind", "apiVersion"} {
				if !slices.Contains(inner.Required, name) {
					inner.Required = append(inner.Required, name)
				}
			}
		}
	})
}

// nameBoth says of what may be a number or a string that it is one of the two, which version 3 has words for.
func nameBoth(s *spec.Schema) {
	if is, _ := s.Extensions[intOrString].(bool); !is {
		return
	}
	if len(s.AnyOf) == 0 && len(s.AllOf) == 0 {
		s.AnyOf = []spec.Schema{*(&spec.Schema{}).Typed("integer", ""), *(&spec.Schema{}).Typed("string", "")}
	}
}

// retype gives what may be a number or a string the type that the definition says, usually none, for both that the conversion names.
func retype(s *spec.Schema, from *apiextensions.JSONSchemaProps) {
	if from.XIntOrString {
		s.Type = nil
		if from.Type != "" {
			s.Type = spec.StringOrArray{from.Type}
		}
	}
	for name, p := range s.Properties {
		of := from.Properties[name]
		retype(&p, &of)
		s.Properties[name] = p
	}
	if s.Items != nil && s.Items.Schema != nil && from.Items.Schema != nil {
		retype(s.Items.Schema, from.Items.Schema)
	}
	if s.AdditionalProperties != nil && s.AdditionalProperties.Schema != nil && from.AdditionalProperties.Schema != nil {
		retype(s.AdditionalProperties.Schema, from.AdditionalProperties.Schema)
	}
}

// simplify leaves out what version 2 of OpenAPI cannot say or what its clients get wrong: alternatives, nulls, defaults, and the known
// fields of objects that may have unknown ones, which kubectl would take for all.
func simplify(s *spec.Schema) {
	each(s, func(inner *spec.Schema) {
		inner.OneOf, inner.AnyOf, inner.AllOf, inner.Not, inner.Default = nil, nil, nil, nil, nil
		loose, _ := inner.Extensions[preserveUnknown].(bool)
		if inner.Nullable || loose {
			inner.Type, inner.Items, inner.Properties = nil, nil, nil
		}
		inner.Nullable = false
	})
}

// each visits a schema and those within, outermost first.
func each(s *spec.Schema, f func(*spec.Schema)) {
	f(s)
	for name, p := range s.Properties {
		each(&p, f)
		s.Properties[name] = p
	}
	if s.Items != nil && s.Items.Schema != nil {
		each(s.Items.Schema, f)
	}
	if s.AdditionalProperties != nil && s.AdditionalProperties.Schema != nil {
		each(s.AdditionalProperties.Schema, f)
	}
}

// typed makes the converter by which server-side apply merges the objects of all versions of a row, at its first use.
func typed(schemas map[schema.GroupVersionKind]*versionSchema) func() (managedfields.TypeConverter, error) {
	return sync.OnceValues(func() (managedfields.TypeConverter, error) {
		models, err := openapi.Models(openapi.ObjectMeta)
		if err != nil {
			return nil, err
		}
		for gvk, s := range schemas {
			doc, err := document(s, false)
			if err != nil {
				return nil, err
			}
			doc.AddExtension("x-kubernetes-group-version-kind", []any{map[string]any{"group": gvk.Group, "version": gvk.Version, "kind": gvk.Kind}})
			models[openapi.CustomModel(gvk)] = doc
		}
		return managedfields.NewTypeConverter(models, false)
	})
}

// describe fills in what others read of the schemas of a row.
func describe(k *object.Kind, schemas map[schema.GroupVersionKind]*versionSchema) {
	converter := typed(schemas)
	for i := range k.Versions {
		v := &k.Versions[i]
		s := schemas[v.GroupVersion.WithKind(v.Kind)]
		v.Custom.TypeConverter = converter
		v.Custom.Fingerprint = s.print
		v.Custom.Schema = func(v2 bool) (*spec.Schema, error) { return document(s, v2) }
	}
}
