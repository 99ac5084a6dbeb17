package crd

import (
	"fmt"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"hyperkube/internal/object"
)

// row makes the row of a definition whose names are accepted, and the schemas of its versions. Its hub is the storage version. asked says that convert
// costs so much that objects are better converted together.
func row(c *apiextensionsv1.CustomResourceDefinition, convert Convert, asked bool, epoch int64) (*object.Kind, []*versionSchema, error) {
	names := c.Status.AcceptedNames
	k := &object.Kind{
		Resource: names.Plural, Singular: names.Singular, ShortNames: names.ShortNames, Categories: names.Categories,
		Scope:         c.Spec.Scope == apiextensionsv1.NamespaceScoped,
		StoragePrefix: c.Spec.Group + "/" + names.Plural,
		Epoch:         epoch,
	}
	if terminating(c) {
		k.Verbs = slices.DeleteFunc(slices.Clone(object.AllVerbs), func(v string) bool { return v == "create" })
	}
	subs := map[string]bool{}
	for i := range c.Spec.Versions {
		v := &c.Spec.Versions[i]
		for _, name := range subresourcesOf(v) {
			subs[name] = true
		}
		if v.Storage {
			k.Versions = slices.Insert(k.Versions, 0, object.Version{GroupVersion: schema.GroupVersion{Group: c.Spec.Group, Version: v.Name}})
			if v.Subresources != nil && v.Subresources.Scale != nil {
				k.Scale = scalePaths(v.Subresources.Scale)
			}
		} else {
			k.Versions = append(k.Versions, object.Version{GroupVersion: schema.GroupVersion{Group: c.Spec.Group, Version: v.Name}})
		}
	}
	hub := k.Versions[0].GroupVersion
	schemas := map[schema.GroupVersionKind]*versionSchema{}
	var all []*versionSchema
	for i := range c.Spec.Versions {
		v := &c.Spec.Versions[i]
		s := newSchema(v)
		all = append(all, s)
		gv := schema.GroupVersion{Group: c.Spec.Group, Version: v.Name}
		into := &k.Versions[slices.IndexFunc(k.Versions, func(have object.Version) bool { return have.GroupVersion == gv })]
		if err := fill(into, c, v, s, subs); err != nil {
			return nil, nil, err
		}
		schemas[gv.WithKind(names.Kind)] = s
		if gv != hub {
			into.FromHub, into.ToHub = conversion(convert, gv), conversion(convert, hub)
			if asked {
				into.FromHubAll = conversions(convert, gv)
			}
		}
	}
	describe(k, schemas)
	hubSchema := schemas[hub.WithKind(names.Kind)]
	k.Strategy = strategyOf(k, hubSchema, subs["status"])
	k.Subresources = subresources(hubSchema, subs)
	k.Fields = k.Versions[0].Custom.Fields
	return k, all, nil
}

// fill makes one version of the row.
func fill(into *object.Version, c *apiextensionsv1.CustomResourceDefinition, v *apiextensionsv1.CustomResourceDefinitionVersion, s *versionSchema, subs map[string]bool) error {
	names := c.Status.AcceptedNames
	gvk := into.GroupVersion.WithKind(names.Kind)
	defs, cells, err := columns(v)
	if err != nil {
		return err
	}
	into.Kind = names.Kind
	into.New = func() runtime.Object { return emptyOf(gvk) }
	into.NewList = func() runtime.Object {
		l := &unstructured.UnstructuredList{}
		l.SetGroupVersionKind(into.GroupVersion.WithKind(names.ListKind))
		return l
	}
	custom := &object.Custom{
		Hidden: !v.Served, ListKind: names.ListKind, Columns: defs, Cells: cells, FieldNames: []string{},
		Default: s.applyDefaults, Prune: s.prune, Validate: s.validate,
	}
	paths := map[string][]string{}
	for _, f := range v.SelectableFields {
		name := strings.TrimPrefix(f.JSONPath, ".")
		custom.FieldNames = append(custom.FieldNames, name)
		paths[name] = strings.Split(name, ".")
	}
	if len(paths) > 0 {
		custom.Fields = func(obj object.Object) fields.Set { return selectable(obj, paths) }
	}
	own := subresourcesOf(v)
	for name := range subs {
		if !slices.Contains(own, name) {
			custom.Without = append(custom.Without, name)
		}
	}
	if v.Deprecated {
		custom.Warning = fmt.Sprintf("%s %s is deprecated", gvk.GroupVersion(), gvk.Kind)
		if v.DeprecationWarning != nil {
			custom.Warning = *v.DeprecationWarning
		}
	}
	into.Custom = custom
	return nil
}

func emptyOf(gvk schema.GroupVersionKind) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{}}
	u.SetGroupVersionKind(gvk)
	return u
}

func subresourcesOf(v *apiextensionsv1.CustomResourceDefinitionVersion) []string {
	var all []string
	if s := v.Subresources; s != nil {
		if s.Status != nil {
			all = append(all, "status")
		}
		if s.Scale != nil {
			all = append(all, "scale")
		}
	}
	return all
}

func scalePaths(s *apiextensionsv1.CustomResourceSubresourceScale) *object.ScalePaths {
	p := &object.ScalePaths{SpecReplicas: fieldPath(s.SpecReplicasPath), StatusReplicas: fieldPath(s.StatusReplicasPath)}
	if s.LabelSelectorPath != nil && *s.LabelSelectorPath != "" {
		p.Selector = fieldPath(*s.LabelSelectorPath)
	}
	return p
}

func selectable(obj object.Object, paths map[string][]string) fields.Set {
	set := fields.Set{}
	if u, ok := obj.(*unstructured.Unstructured); ok {
		for name, path := range paths {
			set[name] = selected(u.Object, path)
		}
	}
	return set
}

func terminating(c *apiextensionsv1.CustomResourceDefinition) bool { return c.DeletionTimestamp != nil }
