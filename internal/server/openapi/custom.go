package openapi

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"hyperkube/internal/object"
)

// ObjectMeta is the model of every object's metadata.
const ObjectMeta = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"

const listMeta = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"

// CustomModel names the model of a kind of custom resource: com.example.v1.Kind.
func CustomModel(gvk schema.GroupVersionKind) string {
	parts := strings.Split(gvk.Group, ".")
	slices.Reverse(parts)
	return strings.Join(append(parts, gvk.Version, gvk.Kind), ".")
}

// Models are the schemas of built-in models, of version 2, with all that they refer to.
func Models(names ...string) (map[string]*spec.Schema, error) {
	s, err := load()
	if err != nil {
		return nil, err
	}
	raw, err := reachable(func(name string) (json.RawMessage, bool) { raw, ok := s.V2[name]; return raw, ok }, names)
	if err != nil {
		return nil, err
	}
	out := make(map[string]*spec.Schema, len(raw))
	for name, data := range raw {
		out[name] = &spec.Schema{}
		if err := json.Unmarshal(data, out[name]); err != nil {
			return nil, fmt.Errorf("OpenAPI schema of %s: %w", name, err)
		}
	}
	return out, nil
}

// schemas are the models that the named ones need, those of the group's custom resources among them.
func (g *group) schemas(v2 bool, names []string) (map[string]json.RawMessage, error) {
	s, err := load()
	if err != nil {
		return nil, err
	}
	builtin, custom := s.V3, map[string]json.RawMessage{}
	if v2 {
		builtin = s.V2
	}
	for _, k := range g.rows {
		for i := range k.Versions {
			v := &k.Versions[i]
			if v.Custom == nil || v.GroupVersion != g.gv {
				continue
			}
			if err := customModels(custom, k.Resource, v, v2); err != nil {
				return nil, err
			}
		}
	}
	return reachable(func(name string) (json.RawMessage, bool) {
		if raw, ok := custom[name]; ok {
			return raw, true
		}
		raw, ok := builtin[name]
		return raw, ok
	}, names)
}

// customModels adds the models of one version: the object and its list.
func customModels(into map[string]json.RawMessage, plural string, v *object.Version, v2 bool) error {
	gvk := v.GroupVersion.WithKind(v.Kind)
	s, err := v.Custom.Schema(v2)
	if err != nil {
		return err
	}
	s.AddExtension(kindExtension, []m{kindOf(gvk)})
	if len(v.Custom.FieldNames) > 0 {
		fields := []m{}
		for _, f := range v.Custom.FieldNames {
			fields = append(fields, m{"fieldPath": f})
		}
		s.AddExtension("x-kubernetes-selectable-fields", fields)
	}
	name, list := CustomModel(gvk), gvk.GroupVersion().WithKind(v.ListKind())
	place, meta := "#/components/schemas/", m{"allOf": []m{{"$ref": "#/components/schemas/" + listMeta}}}
	if v2 {
		place, meta = "#/definitions/", m{"$ref": "#/definitions/" + listMeta}
	}
	meta["description"] = "Standard list metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds"
	text := metav1.TypeMeta{}.SwaggerDoc()
	whole := m{
		"description": v.ListKind() + " is a list of " + v.Kind, "type": "object", "required": []string{"items"},
		"properties": m{
			"apiVersion": m{"type": "string", "description": text["apiVersion"]}, "kind": m{"type": "string", "description": text["kind"]},
			"metadata": meta,
			"items": m{"type": "array", "items": m{"$ref": place + name},
				"description": "List of " + plural + ". More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md"},
		},
		kindExtension: []m{kindOf(list)},
	}
	if fields, ok := s.Extensions["x-kubernetes-selectable-fields"]; ok {
		whole["x-kubernetes-selectable-fields"] = fields
	}
	for model, content := range map[string]any{name: s, CustomModel(list): whole} {
		data, err := json.Marshal(content)
		if err != nil {
			return fmt.Errorf("OpenAPI schema of %s: %w", gvk, err)
		}
		into[model] = data
	}
	return nil
}
