package crd

import (
	"context"
	"fmt"
	"math"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/model"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/cel/environment"

	"hyperkube/internal/object"
)

// ruleBudget is the most that one rule may cost by estimate, over all places of an object where it applies.
const ruleBudget = 10000000

// Hook judges what of a definition only the engines of custom resources can: whether rules compile and what they may cost, whether
// defaults fit their schema, and whether selectable fields are there. Versions whose schema an update leaves alone are
// not judged again.
func Hook(ctx context.Context, obj, old object.Object, _ bool) (commit, rollback func(), err error) {
	c, ok := obj.(*apiextensionsv1.CustomResourceDefinition)
	if !ok {
		return nil, nil, nil
	}
	before, _ := old.(*apiextensionsv1.CustomResourceDefinition)
	var errs field.ErrorList
	for i := range c.Spec.Versions {
		v := &c.Spec.Versions[i]
		if unchanged(v, before) {
			continue
		}
		errs = append(errs, judgeVersion(ctx, v, field.NewPath("spec", "versions").Index(i))...)
	}
	if len(errs) > 0 {
		return nil, nil, apierrors.NewInvalid(apiextensionsv1.SchemeGroupVersion.WithKind("CustomResourceDefinition").GroupKind(), c.Name, errs)
	}
	return nil, nil, nil
}

func unchanged(v *apiextensionsv1.CustomResourceDefinitionVersion, old *apiextensionsv1.CustomResourceDefinition) bool {
	if old == nil {
		return false
	}
	for i := range old.Spec.Versions {
		was := &old.Spec.Versions[i]
		if was.Name == v.Name {
			return apiequality.Semantic.DeepEqual(was.Schema, v.Schema) && apiequality.Semantic.DeepEqual(was.SelectableFields, v.SelectableFields)
		}
	}
	return false
}

func judgeVersion(ctx context.Context, v *apiextensionsv1.CustomResourceDefinitionVersion, at *field.Path) field.ErrorList {
	if v.Schema == nil || v.Schema.OpenAPIV3Schema == nil {
		return nil
	}
	in := at.Child("schema", "openAPIV3Schema")
	var props apiextensions.JSONSchemaProps
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(v.Schema.OpenAPIV3Schema.DeepCopy(), &props, nil); err != nil {
		return field.ErrorList{field.Invalid(in, "", err.Error())}
	}
	s, err := structuralschema.NewStructural(&props)
	if err != nil {
		return field.ErrorList{field.Invalid(in, "", err.Error())}
	}
	errs, err := defaulting.ValidateDefaults(ctx, in, s, true, true)
	if err != nil {
		errs = append(errs, field.InternalError(in, err))
	}
	once := uint64(1)
	errs = append(errs, judgeNode(s, in, true, &once)...)
	for i, f := range v.SelectableFields {
		p := at.Child("selectableFields").Index(i).Child("jsonPath")
		_, found, err := cel.ValidFieldPath(f.JSONPath, s, cel.WithFieldPathAllowArrayNotation(false))
		switch {
		case err != nil:
			errs = append(errs, field.Invalid(p, f.JSONPath, "is an invalid path: "+err.Error()))
		case found.Type != "string" && found.Type != "boolean" && found.Type != "integer":
			errs = append(errs, field.Invalid(p, f.JSONPath, "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed."))
		}
	}
	return errs
}

// judgeNode compiles the rules of a schema and of those within. times is how often an object can have the value at most; nil:
// nothing bounds that.
func judgeNode(s *structuralschema.Structural, at *field.Path, root bool, times *uint64) field.ErrorList {
	var errs field.ErrorList
	if len(s.XValidations) > 0 {
		errs = append(errs, compileRules(s, at.Child("x-kubernetes-validations"), root, times)...)
	}
	for name := range s.Properties {
		p := s.Properties[name]
		errs = append(errs, judgeNode(&p, at.Child("properties").Key(name), false, times)...)
	}
	var items, properties *int64
	if s.ValueValidation != nil {
		items, properties = s.ValueValidation.MaxItems, s.ValueValidation.MaxProperties
	}
	if s.Items != nil {
		errs = append(errs, judgeNode(s.Items, at.Child("items"), false, multiply(times, items))...)
	}
	if s.AdditionalProperties != nil && s.AdditionalProperties.Structural != nil {
		errs = append(errs, judgeNode(s.AdditionalProperties.Structural, at.Child("additionalProperties"), false, multiply(times, properties))...)
	}
	return errs
}

func multiply(times *uint64, most *int64) *uint64 {
	if times == nil || most == nil || *most < 0 {
		return nil
	}
	n := product(*times, uint64(*most))
	return &n
}

// product is bounded by the largest number.
func product(a, b uint64) uint64 {
	if b != 0 && a > math.MaxUint64/b {
		return math.MaxUint64
	}
	return a * b
}

func compileRules(s *structuralschema.Structural, at *field.Path, root bool, times *uint64) field.ErrorList {
	env := environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion())
	results, err := cel.Compile(s, model.SchemaDeclType(s, root || s.XEmbeddedResource), celconfig.PerCallLimit, env, cel.NewExpressionsEnvLoader())
	if err != nil {
		return field.ErrorList{field.InternalError(at, fmt.Errorf("failed to construct type information for rules: %w", err))}
	}
	var errs field.ErrorList
	for i, r := range results {
		p, rule := at.Index(i), s.XValidations[i]
		if r.Error != nil {
			errs = append(errs, field.Invalid(p.Child("rule"), rule.Rule, r.Error.Detail))
		}
		if r.MessageExpressionError != nil {
			errs = append(errs, field.Invalid(p.Child("messageExpression"), rule.MessageExpression, r.MessageExpressionError.Detail))
		}
		if cost := costOf(r, times); cost > ruleBudget {
			errs = append(errs, field.Forbidden(p.Child("rule"), fmt.Sprintf("estimated rule cost exceeds budget by factor of %s (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)", factor(cost))))
		}
	}
	return errs
}

// costOf is what a rule may cost at most in one object, as far as the schema bounds that.
func costOf(r cel.CompilationResult, times *uint64) uint64 {
	if times != nil {
		return product(r.MaxCost, *times)
	}
	return product(r.MaxCost, r.MaxCardinality)
}

func factor(cost uint64) string {
	f := float64(cost) / ruleBudget
	if f > 100 {
		return "more than 100x"
	}
	return fmt.Sprintf("%.1fx", f)
}
