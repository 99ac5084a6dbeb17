package crd

import (
	"fmt"
	"maps"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"hyperkube/internal/object"
)

// Convert makes objects of another version out of some that are all of one version, which it leaves alone; in the same order, all or none.
type Convert func(us []*unstructured.Unstructured, to schema.GroupVersion) ([]*unstructured.Unstructured, error)

// converter of a definition. asked says that somebody else is asked.
func (d *Definitions) converter(c *apiextensionsv1.CustomResourceDefinition) (convert Convert, asked bool) {
	if w := c.Spec.Conversion; w != nil && w.Strategy == apiextensionsv1.WebhookConverter {
		return d.webhook(c), true
	}
	return renameAll, false
}

func renameAll(us []*unstructured.Unstructured, to schema.GroupVersion) ([]*unstructured.Unstructured, error) {
	out := make([]*unstructured.Unstructured, len(us))
	for i, u := range us {
		out[i] = rename(u, to)
	}
	return out, nil
}

// rename is the conversion between versions that differ by name alone.
func rename(u *unstructured.Unstructured, to schema.GroupVersion) *unstructured.Unstructured {
	out := maps.Clone(u.Object)
	if meta, ok := out["metadata"].(map[string]any); ok {
		out["metadata"] = maps.Clone(meta)
	}
	out["apiVersion"] = to.String()
	return &unstructured.Unstructured{Object: out}
}

// conversion is a converter as a row wants it.
func conversion(f Convert, to schema.GroupVersion) func(object.Object) (object.Object, error) {
	all := conversions(f, to)
	return func(obj object.Object) (object.Object, error) {
		out, err := all([]object.Object{obj})
		if err != nil {
			return nil, err
		}
		return out[0], nil
	}
}

// conversions is the same for many objects. Only those that need it are given to the converter.
func conversions(f Convert, to schema.GroupVersion) func([]object.Object) ([]object.Object, error) {
	return func(objs []object.Object) ([]object.Object, error) {
		out := make([]object.Object, len(objs))
		var where []int
		var ask []*unstructured.Unstructured
		for i, obj := range objs {
			u, ok := obj.(*unstructured.Unstructured)
			switch {
			case !ok:
				return nil, fmt.Errorf("a %T is no custom resource", obj)
			case u.GetAPIVersion() == to.String():
				out[i] = u
			case bare(u):
				out[i] = rename(u, to)
			default:
				where, ask = append(where, i), append(ask, u)
			}
		}
		if len(ask) == 0 {
			return out, nil
		}
		made, err := f(ask, to)
		if err != nil {
			return nil, err
		}
		for j, i := range where {
			out[i] = made[j]
		}
		return out, nil
	}
}

// bare says that this is no object but the mark of a place in a watch: it has no name and nothing that could be converted.
func bare(u *unstructured.Unstructured) bool {
	for key := range u.Object {
		if key != "apiVersion" && key != "kind" && key != "metadata" {
			return false
		}
	}
	return u.GetName() == "" && u.GetGenerateName() == "" && u.GetUID() == ""
}
