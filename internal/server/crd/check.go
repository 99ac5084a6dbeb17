package crd

import (
	"context"
	"slices"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"hyperkube/internal/object"
	"hyperkube/internal/server/request"
)

// Hook judges the schemas of a definition and what rests on them: whether they are structural, whether rules compile and what they may
// cost, whether defaults fit, and whether selectable fields are there, and warns of new formats
// that there are not. Versions whose schema an update leaves alone are not judged again.
func Hook(ctx context.Context, obj, old object.Object, _ bool) (commit, rollback func(), err error) {
	c, ok := obj.(*apiextensionsv1.CustomResourceDefinition)
	if !ok {
		return nil, nil, nil
	}
	before, _ := old.(*apiextensionsv1.CustomResourceDefinition)
	if errs := judgeSchemas(ctx, c, before); len(errs) > 0 {
		return nil, nil, apierrors.NewInvalid(apiextensionsv1.SchemeGroupVersion.WithKind("CustomResourceDefinition").GroupKind(), c.Name, errs)
	}
	if req := request.From(ctx); req != nil {
		for _, w := range newUnknownFormats(c, before) {
			req.Warn(w)
		}
	}
	return nil, nil, nil
}

// judgeSchemas judges what all versions have in common once, in the place where the form of the API before v1 has it: clients know it there.
func judgeSchemas(ctx context.Context, c, before *apiextensionsv1.CustomResourceDefinition) field.ErrorList {
	changed := slices.IndexFunc(c.Spec.Versions, func(v apiextensionsv1.CustomResourceDefinitionVersion) bool { return !unchanged(&v, before) })
	if changed < 0 {
		return nil
	}
	common, err := object.CommonCRD(c)
	if err != nil {
		return field.ErrorList{field.Invalid(field.NewPath("spec"), "", err.Error())}
	}
	spec := field.NewPath("spec")
	if common.Spec.Validation != nil {
		j := judge{ctx, c.Spec.Versions[changed].Name, before, hasStatus(common.Spec.Subresources)}
		s, errs := j.schema(common.Spec.Validation.OpenAPIV3Schema, spec.Child("validation", "openAPIV3Schema"))
		if s == nil {
			return errs
		}
		if common.Spec.SelectableFields != nil {
			return append(errs, judgeFields(common.Spec.SelectableFields, s, spec.Child("selectableFields"))...)
		}
		for i, v := range common.Spec.Versions {
			errs = append(errs, judgeFields(v.SelectableFields, s, spec.Child("versions").Index(i).Child("selectableFields"))...)
		}
		return errs
	}
	var errs field.ErrorList
	for i, v := range common.Spec.Versions {
		if v.Schema == nil || unchanged(&c.Spec.Versions[i], before) {
			continue
		}
		at := spec.Child("versions").Index(i)
		j := judge{ctx, v.Name, before, hasStatus(common.Spec.Subresources) || hasStatus(v.Subresources)}
		s, bad := j.schema(v.Schema.OpenAPIV3Schema, at.Child("schema", "openAPIV3Schema"))
		errs = append(errs, bad...)
		if s == nil {
			continue
		}
		fields, where := v.SelectableFields, at.Child("selectableFields")
		if common.Spec.SelectableFields != nil {
			fields, where = common.Spec.SelectableFields, spec.Child("selectableFields")
		}
		errs = append(errs, judgeFields(fields, s, where)...)
	}
	return errs
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

// judge of the schema of a version, which a definition may have had before.
type judge struct {
	ctx     context.Context
	version string
	before  *apiextensionsv1.CustomResourceDefinition
	status  bool // objects of the version have it as a subresource
}

func hasStatus(s *apiextensions.CustomResourceSubresources) bool { return s != nil && s.Status != nil }

// schema gives the structural form of a schema, or nil when it has none.
func (j *judge) schema(props *apiextensions.JSONSchemaProps, at *field.Path) (*structuralschema.Structural, field.ErrorList) {
	if props == nil {
		return nil, nil
	}
	// The structural form shares memory with what it is made of.
	s, err := structuralschema.NewStructural(props.DeepCopy())
	usable := false
	shape, lists := judgeShape(props, at)
	was := j.had()
	if was != nil && len(lists) > 0 {
		// What was let in before the lists were judged stays.
		if _, had := judgeShape(was, at); len(had) > 0 {
			lists = nil
		}
	}
	var errs field.ErrorList
	if j.status {
		errs = judgeRoot(props, at)
	}
	if err == nil {
		bad := structuralschema.ValidateStructural(at, s)
		usable = len(bad) == 0
		errs = append(errs, bad...)
	}
	shape = slices.Concat(shape, lists, judgeRuleTexts(props, at))
	switch {
	case err != nil && len(errs)+len(shape) == 0:
		return nil, field.ErrorList{field.Invalid(at, "", err.Error())}
	case err != nil:
		return nil, append(errs, shape...)
	case !usable:
		return s, append(errs, shape...)
	}
	compile := len(errs)+len(shape) == 0 // rules are told what the schema says
	bad, err := defaulting.ValidateDefaults(j.ctx, at, s, true, prunedBefore(j.ctx, was))
	errs = slices.Concat(errs, bad, shape)
	if err != nil {
		errs = append(errs, field.InternalError(at, err))
	}
	if compile {
		errs = append(errs, judgeRules(props, s, at)...)
	}
	return s, errs
}

// had is the schema that the version had; nil when it had none.
func (j *judge) had() *apiextensions.JSONSchemaProps {
	if j.before == nil {
		return nil
	}
	for i := range j.before.Spec.Versions {
		v := &j.before.Spec.Versions[i]
		if v.Name != j.version || v.Schema == nil || v.Schema.OpenAPIV3Schema == nil {
			continue
		}
		props := &apiextensions.JSONSchemaProps{}
		if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(v.Schema.OpenAPIV3Schema.DeepCopy(), props, nil); err != nil {
			return nil
		}
		return props
	}
	return nil
}

// prunedBefore says whether the defaults of a schema had no unknown fields; so nil has none.
func prunedBefore(ctx context.Context, was *apiextensions.JSONSchemaProps) bool {
	if was == nil {
		return true
	}
	s, err := structuralschema.NewStructural(was)
	if err != nil {
		return true
	}
	errs, err := defaulting.ValidateDefaults(ctx, nil, s, true, true)
	return err == nil && len(errs) == 0
}

// judgeFields wants selectable fields that are in the schema, each once.
func judgeFields(list []apiextensions.SelectableField, s *structuralschema.Structural, at *field.Path) field.ErrorList {
	const most = 8
	var errs field.ErrorList
	seen := map[string]bool{}
	for i, f := range list {
		p := at.Index(i).Child("jsonPath")
		if f.JSONPath == "" {
			errs = append(errs, field.Required(p, ""))
			continue
		}
		_, found, err := cel.ValidFieldPath(f.JSONPath, s, cel.WithFieldPathAllowArrayNotation(false))
		switch {
		case err != nil:
			errs = append(errs, field.Invalid(p, f.JSONPath, "is an invalid path: "+err.Error()))
		case metadataField(f.JSONPath):
			errs = append(errs, field.Invalid(p, f.JSONPath, "must not point to fields in metadata"))
		case found.Type != "string" && found.Type != "boolean" && found.Type != "integer":
			errs = append(errs, field.Invalid(p, f.JSONPath, "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed."))
		}
		if seen[f.JSONPath] {
			errs = append(errs, field.Duplicate(p, f.JSONPath))
		}
		seen[f.JSONPath] = true
	}
	if len(list) > most && len(errs) == 0 {
		errs = append(errs, field.TooMany(at, len(list), most))
	}
	return errs
}

func metadataField(path string) bool { return slices.Contains(fieldPath(path)[:1], "metadata") }
