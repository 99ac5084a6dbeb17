package policystatus

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	apiservercel "k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/openapi"
	"k8s.io/apiserver/pkg/cel/openapi/resolver"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"hyperkube/internal/client"
)

// schemas are what a server says of its kinds, read at most once. It is for one check: what is read later is newer.
type schemas struct {
	ctx       context.Context
	c         client.Interface
	resources []metav1.APIResource
	documents map[schema.GroupVersion]map[string]*spec.Schema
	types     map[schema.GroupVersionKind]*apiservercel.DeclType
}

func newSchemas(ctx context.Context, c client.Interface) *schemas {
	return &schemas{ctx: ctx, c: c, documents: map[schema.GroupVersion]map[string]*spec.Schema{}, types: map[schema.GroupVersionKind]*apiservercel.DeclType{}}
}

// Kind implements kinds. The kind of a resource has one name in all versions, and the server need not prefer the one asked for.
func (s *schemas) Kind(r schema.GroupVersionResource) (schema.GroupVersionKind, error) {
	if s.resources == nil {
		var err error
		if s.resources, err = s.c.Resources(s.ctx); len(s.resources) == 0 && err != nil {
			return schema.GroupVersionKind{}, err
		}
	}
	for _, have := range s.resources {
		if have.Group == r.Group && have.Name == r.Resource {
			return r.GroupVersion().WithKind(have.Kind), nil
		}
	}
	return schema.GroupVersionKind{}, nil
}

// Type implements kinds.
func (s *schemas) Type(k schema.GroupVersionKind) (*apiservercel.DeclType, error) {
	if t, ok := s.types[k]; ok {
		return t, nil
	}
	t, err := s.read(k)
	if err == nil {
		s.types[k] = t
	}
	return t, err
}

const definitions = "#/components/schemas/"

func (s *schemas) read(k schema.GroupVersionKind) (*apiservercel.DeclType, error) {
	all, err := s.document(k.GroupVersion())
	if err != nil {
		return nil, err
	}
	for name, have := range all {
		if !describes(have, k) {
			continue
		}
		whole, err := resolver.PopulateRefs(func(ref string) (*spec.Schema, bool) {
			found, ok := all[strings.TrimPrefix(ref, definitions)]
			return found, ok
		}, definitions+name)
		if err != nil {
			return nil, fmt.Errorf("schema of %s: %w", k, err)
		}
		t := openapi.SchemaDeclType(whole, true)
		if t == nil {
			return nil, nil
		}
		return t.MaybeAssignTypeName("kubernetes." + k.Group + "." + k.Version + "." + k.Kind), nil
	}
	return nil, nil
}

// document are the schemas of a group and version; none where the server has none.
func (s *schemas) document(gv schema.GroupVersion) (map[string]*spec.Schema, error) {
	if all, ok := s.documents[gv]; ok {
		return all, nil
	}
	data, err := s.c.OpenAPI(s.ctx, gv)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var doc struct {
		Components struct {
			Schemas map[string]*spec.Schema `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("OpenAPI of %s: %w", gv, err)
	}
	s.documents[gv] = doc.Components.Schemas
	return doc.Components.Schemas, nil
}

// describes says whether the schema is that of the kind and of nothing else: options of requests name all kinds.
func describes(s *spec.Schema, k schema.GroupVersionKind) bool {
	var of []metav1.GroupVersionKind
	if err := s.Extensions.GetObject("x-kubernetes-group-version-kind", &of); err != nil || len(of) != 1 {
		return false
	}
	return of[0] == metav1.GroupVersionKind(k)
}
