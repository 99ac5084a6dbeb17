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
		errs = append(errs, judgeVersion(ctx, v, before, field.NewPath("spec", "versions").Index(i))...)
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

// schemaOf is the schema of a version of a definition; nil when there is none.
func schemaOf(c *apiextensionsv1.CustomResourceDefinition, version string) *apiextensionsv1.JSONSchemaProps {
	if c == nil {
		return nil
	}
	for i := range c.Spec.Versions {
		if v := &c.Spec.Versions[i]; v.Name == version && v.Schema != nil {
			return v.Schema.OpenAPIV3Schema
		}
	}
	return nil
}

func judgeVersion(ctx context.Context, v *apiextensionsv1.CustomResourceDefinitionVersion, before *apiextensionsv1.CustomResourceDefinition, at *field.Path) field.ErrorList {
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
	errs, lists := judgeShape(v.Schema.OpenAPIV3Schema, in)
	if was := schemaOf(before, v.Name); was != nil {
		// What was let in before the lists were judged stays.
		if _, had := judgeShape(was, in); len(had) > 0 {
			lists = nil
		}
	}
	if errs = append(errs, lists...); len(errs) > 0 {
		return errs
	}
	visit(v.Schema.OpenAPIV3Schema, in, func(s *apiextensionsv1.JSONSchemaProps, at *field.Path) {
		for i := range s.XValidations {
			errs = append(errs, judgeTexts(&s.XValidations[i], at.Child("x-kubernetes-validations").Index(i))...)
		}
	})
	if len(errs) > 0 {
		return errs
	}
	errs, err = defaulting.ValidateDefaults(ctx, in, s, true, prunedBefore(ctx, schemaOf(before, v.Name)))
	if err != nil {
		errs = append(errs, field.InternalError(in, err))
	}
	once := uint64(1)
	errs = append(errs, judgeNode(s, in, true, &once, nil)...)
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

// prunedBefore says whether the defaults of a schema had no unknown fields; so nil has none.
func prunedBefore(ctx context.Context, was *apiextensionsv1.JSONSchemaProps) bool {
	if was == nil {
		return true
	}
	var props apiextensions.JSONSchemaProps
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(was.DeepCopy(), &props, nil); err != nil {
		return true
	}
	s, err := structuralschema.NewStructural(&props)
	if err != nil {
		return true
	}
	errs, err := defaulting.ValidateDefaults(ctx, nil, s, true, true)
	return err == nil && len(errs) == 0
}

// judgeNode compiles the rules of a schema and of those within. times is how often an object can have the value at most; nil:
// nothing bounds that. loose is the list whose items cannot be told from one another after a change, where the schema is within one.
func judgeNode(s *structuralschema.Structural, at *field.Path, root bool, times *uint64, loose *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(s.XValidations) > 0 {
		errs = append(errs, compileRules(s, at.Child("x-kubernetes-validations"), root, times, loose)...)
	}
	for name := range s.Properties {
		p := s.Properties[name]
		errs = append(errs, judgeNode(&p, at.Child("properties").Key(name), false, times, loose)...)
	}
	var items, properties *int64
	if s.ValueValidation != nil {
		items, properties = s.ValueValidation.MaxItems, s.ValueValidation.MaxProperties
	}
	if s.Items != nil {
		within := loose
		if within == nil && (s.XListType == nil || *s.XListType != "map") {
			within = at
		}
		errs = append(errs, judgeNode(s.Items, at.Child("items"), false, multiply(times, items), within)...)
	}
	if s.AdditionalProperties != nil && s.AdditionalProperties.Structural != nil {
		errs = append(errs, judgeNode(s.AdditionalProperties.Structural, at.Child("additionalProperties"), false, multiply(times, properties), loose)...)
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

func compileRules(s *structuralschema.Structural, at *field.Path, root bool, times *uint64, loose *field.Path) field.ErrorList {
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
		errs = append(errs, judgeUse(s, &rule, r, p, loose)...)
		if cost := product(r.MessageExpressionMaxCost, calls(r, times)); rule.MessageExpression != "" && cost > ruleBudget {
			errs = append(errs, field.Forbidden(p.Child("messageExpression"), fmt.Sprintf("estimated messageExpression cost exceeds budget by factor of %s (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)", factor(cost))))
		}
		if cost := costOf(r, times); cost > ruleBudget {
			errs = append(errs, field.Forbidden(p.Child("rule"), fmt.Sprintf("estimated rule cost exceeds budget by factor of %s (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)", factor(cost))))
		}
	}
	return errs
}

// costOf is what a rule may cost at most in one object, as far as the schema bounds that.
func costOf(r cel.CompilationResult, times *uint64) uint64 {
	return product(r.MaxCost, calls(r, times))
}

// calls is how often a rule may be evaluated for one object.
func calls(r cel.CompilationResult, times *uint64) uint64 {
	if times != nil {
		return *times
	}
	return r.MaxCardinality
}

// judgeUse looks at whether a rule can be evaluated where it stands: by the old value, and for the field that it blames.
func judgeUse(s *structuralschema.Structural, rule *apiextensionsv1.ValidationRule, r cel.CompilationResult, at, loose *field.Path) field.ErrorList {
	var errs field.ErrorList
	if rule.FieldPath != "" {
		if _, _, err := cel.ValidFieldPath(rule.FieldPath, s, cel.WithFieldPathAllowArrayNotation(true)); err != nil {
			errs = append(errs, field.Invalid(at.Child("fieldPath"), rule.FieldPath, "must be a valid path"))
		}
	}
	if r.Error != nil {
		return errs
	}
	switch {
	case r.UsesOldSelf && loose != nil:
		errs = append(errs, field.Invalid(at.Child("rule"), rule.Rule, fmt.Sprintf("oldSelf cannot be used on the uncorrelatable portion of the schema within %v", loose)))
	case !r.UsesOldSelf && rule.OptionalOldSelf != nil:
		errs = append(errs, field.Invalid(at.Child("optionalOldSelf"), *rule.OptionalOldSelf, "may not be set if oldSelf is not used in rule"))
	}
	return errs
}

func factor(cost uint64) string {
	f := float64(cost) / ruleBudget
	if f > 100 {
		return "more than 100x"
	}
	return fmt.Sprintf("%.1fx", f)
}
