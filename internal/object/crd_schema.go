package object

import (
	"iter"
	"maps"
	"slices"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/client-go/transport"
)

// CommonCRD is a definition in the form in which what all versions have in common stands once, beside the versions. Errors name fields
// as they are there, since clients know them so.
func CommonCRD(c *apiextensionsv1.CustomResourceDefinition) (*apiextensions.CustomResourceDefinition, error) {
	out := &apiextensions.CustomResourceDefinition{}
	// The conversion shares memory with its input.
	err := apiextensionsv1.Convert_v1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(c.DeepCopy(), out, nil)
	return out, err
}

// schemas gives a schema and all within it.
func schemas(s *apiextensionsv1.JSONSchemaProps) iter.Seq[*apiextensionsv1.JSONSchemaProps] {
	return func(yield func(*apiextensionsv1.JSONSchemaProps) bool) { eachSchema(s, yield) }
}

// eachSchema says whether yield wants more.
func eachSchema(s *apiextensionsv1.JSONSchemaProps, yield func(*apiextensionsv1.JSONSchemaProps) bool) bool {
	if s == nil {
		return true
	}
	if !yield(s) {
		return false
	}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		if p := s.Properties[name]; !eachSchema(&p, yield) {
			return false
		}
	}
	if s.Items != nil && !eachSchema(s.Items.Schema, yield) {
		return false
	}
	if s.AdditionalProperties != nil && !eachSchema(s.AdditionalProperties.Schema, yield) {
		return false
	}
	for _, list := range [][]apiextensionsv1.JSONSchemaProps{s.AllOf, s.AnyOf, s.OneOf} {
		for i := range list {
			if !eachSchema(&list[i], yield) {
				return false
			}
		}
	}
	return eachSchema(s.Not, yield)
}

func schemaOf(v *apiextensionsv1.CustomResourceDefinitionVersion) *apiextensionsv1.JSONSchemaProps {
	if v.Schema == nil {
		return nil
	}
	return v.Schema.OpenAPIV3Schema
}

func hasDefaults(v apiextensionsv1.CustomResourceDefinitionVersion) bool {
	for s := range schemas(schemaOf(&v)) {
		if s.Default != nil {
			return true
		}
	}
	return false
}

// bundleError says why no connection could be made that trusts certificates in PEM form alone.
func bundleError(pem []byte) error {
	_, err := transport.TLSConfigFor(&transport.Config{TLS: transport.TLSConfig{CAData: pem}})
	return err
}
