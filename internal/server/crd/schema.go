package crd

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/model"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/objectmeta"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/cel/common"

	"hyperkube/internal/object"
)

// versionSchema is the schema of one version and the engines that are made of it at their first use. Until then nothing is
// held but the schema in the definition itself, which the server's cache holds anyway.
type versionSchema struct {
	// source is an OpenAPI schema that says what the first one said, out of the newest state of the definition.
	source     atomic.Pointer[apiextensionsv1.JSONSchemaProps]
	structural func() (*structuralschema.Structural, error)
	validator  func() (validation.SchemaValidator, error)
	rules      func() *cel.Validator // nil without rules
	print      func() string
}

func newSchema(v *apiextensionsv1.CustomResourceDefinitionVersion) *versionSchema {
	s := &versionSchema{}
	s.follow(v)
	s.structural = sync.OnceValues(func() (*structuralschema.Structural, error) {
		props, err := s.props()
		if err != nil {
			return nil, err
		}
		return structuralschema.NewStructural(props)
	})
	s.validator = sync.OnceValues(func() (validation.SchemaValidator, error) {
		props, err := s.props()
		if err != nil {
			return nil, err
		}
		engine, _, err := validation.NewSchemaValidator(props)
		return engine, err
	})
	s.rules = sync.OnceValue(func() *cel.Validator {
		st, err := s.structural()
		if err != nil {
			return nil
		}
		return cel.NewValidator(st, true, celconfig.PerCallLimit)
	})
	s.print = sync.OnceValue(func() string {
		h := sha256.New()
		if err := json.NewEncoder(h).Encode(s.source.Load()); err != nil {
			return err.Error()
		}
		return hex.EncodeToString(h.Sum(nil))
	})
	return s
}

// follow takes the schema from another state of the definition, so that the one before can be forgotten.
func (s *versionSchema) follow(v *apiextensionsv1.CustomResourceDefinitionVersion) {
	if v.Schema != nil && v.Schema.OpenAPIV3Schema != nil {
		s.source.Store(v.Schema.OpenAPIV3Schema)
		return
	}
	s.source.Store(&apiextensionsv1.JSONSchemaProps{Type: "object"})
}

// props is the schema in the form that the engines are made of; the caller's own.
func (s *versionSchema) props() (*apiextensions.JSONSchemaProps, error) {
	props := &apiextensions.JSONSchemaProps{}
	// The conversion shares memory with its input.
	err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(s.source.Load().DeepCopy(), props, nil)
	return props, err
}

// applyDefaults fills in what the schema has defaults for. Nulls where the schema allows none count as absent.
func (s *versionSchema) applyDefaults(obj object.Object) {
	u, ok := obj.(*unstructured.Unstructured)
	st, err := s.structural()
	if !ok || err != nil {
		return
	}
	defaulting.Default(u.Object, st)
	defaulting.PruneNonNullableNullsWithoutDefaults(u.Object, st)
}

// prune brings the metadata into form, drops what the schema does not have, and names it.
func (s *versionSchema) prune(obj object.Object) ([]string, error) {
	u, ok := obj.(*unstructured.Unstructured)
	if !ok {
		return nil, fmt.Errorf("a %T is no custom resource", obj)
	}
	st, err := s.structural()
	if err != nil {
		return nil, err
	}
	meta, found, unknown, err := objectmeta.GetObjectMetaWithOptions(u.Object, objectmeta.ObjectMetaOptions{ReturnUnknownFieldPaths: true})
	if err != nil {
		return nil, err
	}
	if found {
		if err := objectmeta.SetObjectMeta(u.Object, meta); err != nil {
			return nil, err
		}
	}
	track := structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true}
	unknown = append(unknown, sorted(pruning.PruneWithOptions(u.Object, st, true, track))...)
	failed, inner := objectmeta.CoerceWithOptions(nil, u.Object, st, false, objectmeta.CoerceOptions{ReturnUnknownFieldPaths: true})
	if failed != nil {
		return nil, failed
	}
	return append(unknown, sorted(inner)...), nil
}

func sorted(list []string) []string {
	slices.Sort(list)
	return list
}

// validate judges an object by the schema, its list types and its rules. old is nil on create; on update what was
// invalid before and did not change is let through.
func (s *versionSchema) validate(obj, old object.Object) field.ErrorList {
	u, ok := obj.(*unstructured.Unstructured)
	st, err := s.structural()
	engine, err2 := s.validator()
	if !ok || err != nil || err2 != nil {
		return field.ErrorList{field.InternalError(nil, fmt.Errorf("the schema cannot be used: %v %v", err, err2))}
	}
	var errs field.ErrorList
	var before map[string]any
	var ratchet []cel.Option
	if was, ok := old.(*unstructured.Unstructured); ok && was != nil {
		before = was.Object
		correlated := common.NewCorrelatedObject(u.Object, before, &model.Structural{Structural: st})
		errs = validation.ValidateCustomResourceUpdate(nil, u.Object, before, engine, validation.WithRatcheting(correlated))
		ratchet = append(ratchet, cel.WithRatcheting(correlated))
	} else {
		errs = validation.ValidateCustomResource(nil, u.Object, engine)
	}
	if lists := listtype.ValidateListSetsAndMaps(nil, st, u.Object); before == nil || len(listtype.ValidateListSetsAndMaps(nil, st, before)) == 0 {
		errs = append(errs, lists...)
	}
	errs = append(errs, objectmeta.Validate(context.Background(), nil, u.Object, st, false)...)
	return append(errs, s.judgeRules(st, u.Object, before, errs, ratchet)...)
}

// judgeRules evaluates the CEL rules, unless the object is malformed in a way that rules cannot cope with.
func (s *versionSchema) judgeRules(st *structuralschema.Structural, obj, old map[string]any, known field.ErrorList, o []cel.Option) field.ErrorList {
	rules := s.rules()
	if rules == nil {
		return nil
	}
	for _, e := range known {
		switch e.Type {
		case field.ErrorTypeRequired, field.ErrorTypeTooLong, field.ErrorTypeTooMany, field.ErrorTypeTypeInvalid:
			return field.ErrorList{field.Invalid(nil, nil, "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation")}
		}
	}
	var before any
	if old != nil {
		before = old
	}
	errs, _ := rules.Validate(context.Background(), nil, st, obj, before, celconfig.RuntimeCELCostBudget, o...)
	return errs
}

// at finds a value by field names; nil when there is none.
func at(content map[string]any, path []string) any {
	v, found, err := unstructured.NestedFieldNoCopy(content, path...)
	if !found || err != nil {
		return nil
	}
	return v
}

// fieldPath takes a simple JSON path apart: ".spec.replicas".
func fieldPath(jsonPath string) []string {
	return strings.Split(strings.TrimPrefix(jsonPath, "."), ".")
}
