package object

import (
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// validateCRDSchema wants a structural schema of an object. Whether its validation rules (CEL) compile and its
// defaults fit is judged where custom resources are served, by the engine that runs them.
func validateCRDSchema(s *apiextensionsv1.CustomResourceValidation, at *field.Path) field.ErrorList {
	p := at.Child("openAPIV3Schema")
	if s == nil || s.OpenAPIV3Schema == nil {
		return field.ErrorList{field.Required(p, "schemas are required")}
	}
	if t := s.OpenAPIV3Schema.Type; t != "object" {
		if t == "" {
			return field.ErrorList{field.Required(p.Child("type"), "must not be empty at the root")}
		}
		return field.ErrorList{field.Invalid(p.Child("type"), t, "must be object at the root")}
	}
	if !deref(s.OpenAPIV3Schema.XPreserveUnknownFields, true) {
		return field.ErrorList{field.Invalid(p.Child("x-kubernetes-preserve-unknown-fields"), false, "must be true or undefined")}
	}
	var internal apiextensions.JSONSchemaProps
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(s.OpenAPIV3Schema, &internal, nil); err != nil {
		return field.ErrorList{field.Invalid(p, "", err.Error())}
	}
	structural, err := schema.NewStructural(&internal)
	if err != nil {
		return field.ErrorList{field.Invalid(p, "", err.Error())}
	}
	return schema.ValidateStructural(p, structural)
}
