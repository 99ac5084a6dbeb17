package crd

import (
	"fmt"
	"slices"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"hyperkube/internal/object"
)

// newUnknownFormats are the warnings that a write of a definition deserves: formats that were there before have been warned of.
func newUnknownFormats(c, before *apiextensionsv1.CustomResourceDefinition) []string {
	all := unknownFormats(c)
	if before == nil || len(all) == 0 {
		return all
	}
	known := unknownFormats(before)
	return slices.DeleteFunc(all, func(w string) bool { return slices.Contains(known, w) })
}

// unknownFormats are warnings of formats that no values are checked by, each once.
func unknownFormats(c *apiextensionsv1.CustomResourceDefinition) []string {
	common, err := object.CommonCRD(c)
	if err != nil {
		return nil // said where the schemas are judged
	}
	var out []string
	note := func(s *apiextensions.JSONSchemaProps, _ *field.Path) {
		form := &spec.Schema{SchemaProps: spec.SchemaProps{Format: s.Format}}
		if s.Type != "" {
			form.Type = spec.StringOrArray{s.Type}
		}
		for _, f := range validation.GetUnrecognizedFormats(form, environment.DefaultCompatibilityVersion()) {
			if text := fmt.Sprintf("unrecognized format %q", f); !slices.Contains(out, text) {
				out = append(out, text)
			}
		}
	}
	if v := common.Spec.Validation; v != nil && v.OpenAPIV3Schema != nil {
		visit(v.OpenAPIV3Schema, nil, note)
	}
	for _, v := range common.Spec.Versions {
		if v.Schema != nil && v.Schema.OpenAPIV3Schema != nil {
			visit(v.Schema.OpenAPIV3Schema, nil, note)
		}
	}
	return out
}
