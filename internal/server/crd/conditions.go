package crd

import (
	"fmt"
	"slices"

	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// approve says whether a definition in a group of the Kubernetes community was approved by it; other groups have no such condition.
func approve(c *apiextensionsv1.CustomResourceDefinition) {
	const t = apiextensionsv1.KubernetesAPIApprovalPolicyConformant
	if !apihelpers.IsProtectedCommunityGroup(c.Spec.Group) {
		unset(c, t)
		return
	}
	state, reason := apihelpers.GetAPIApprovalState(c.Annotations)
	switch state {
	case apihelpers.APIApproved:
		set(c, condition(t, apiextensionsv1.ConditionTrue, "ApprovedAnnotation", reason))
	case apihelpers.APIApprovalBypassed:
		set(c, condition(t, apiextensionsv1.ConditionFalse, "UnapprovedAnnotation", reason))
	case apihelpers.APIApprovalMissing:
		set(c, condition(t, apiextensionsv1.ConditionFalse, "MissingAnnotation", reason))
	case apihelpers.APIApprovalInvalid:
		set(c, condition(t, apiextensionsv1.ConditionFalse, "InvalidAnnotation", reason))
	default:
		set(c, condition(t, apiextensionsv1.ConditionUnknown, "UnknownAnnotation", reason))
	}
}

// judgeStructure says what keeps schemas from being structural. The server takes no such definitions; a datastore that
// has lived since apiextensions.k8s.io/v1beta1 may hold some.
func judgeStructure(c *apiextensionsv1.CustomResourceDefinition) {
	errs := violations(c)
	if len(errs) == 0 {
		unset(c, apiextensionsv1.NonStructuralSchema)
		return
	}
	set(c, condition(apiextensionsv1.NonStructuralSchema, apiextensionsv1.ConditionTrue, "Violations", errs.ToAggregate().Error()))
}

func violations(c *apiextensionsv1.CustomResourceDefinition) field.ErrorList {
	spec := field.NewPath("spec")
	var errs field.ErrorList
	if c.Spec.PreserveUnknownFields {
		errs = append(errs, field.Invalid(spec.Child("preserveUnknownFields"), true, "must be false"))
	}
	for i := range c.Spec.Versions {
		v := &c.Spec.Versions[i]
		if v.Schema == nil || v.Schema.OpenAPIV3Schema == nil {
			continue
		}
		at := spec.Child("versions").Index(i).Child("schema", "openAPIV3Schema")
		var props apiextensions.JSONSchemaProps
		// The conversion shares memory with its input.
		err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(v.Schema.OpenAPIV3Schema.DeepCopy(), &props, nil)
		var s *structuralschema.Structural
		if err == nil {
			s, err = structuralschema.NewStructural(&props)
		}
		if err != nil {
			errs = append(errs, field.Invalid(at, "", fmt.Sprintf("failed to check validation schema for version %s: %v", v.Name, err)))
			continue
		}
		errs = append(errs, structuralschema.ValidateStructural(at, s)...)
	}
	return errs
}

// unset takes a condition out.
func unset(c *apiextensionsv1.CustomResourceDefinition, t apiextensionsv1.CustomResourceDefinitionConditionType) {
	c.Status.Conditions = slices.DeleteFunc(c.Status.Conditions, func(have apiextensionsv1.CustomResourceDefinitionCondition) bool { return have.Type == t })
}
