package crd

import (
	"fmt"
	"maps"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"hyperkube/internal/object"
)

// Convert makes an object of another version out of one, which it leaves alone.
type Convert func(u *unstructured.Unstructured, to schema.GroupVersion) (*unstructured.Unstructured, error)

// converter of a definition.
func (d *Definitions) converter(c *apiextensionsv1.CustomResourceDefinition) Convert {
	if w := c.Spec.Conversion; w != nil && w.Strategy == apiextensionsv1.WebhookConverter {
		return d.webhook(c)
	}
	return rename
}

// rename is the conversion between versions that differ by name alone.
func rename(u *unstructured.Unstructured, to schema.GroupVersion) (*unstructured.Unstructured, error) {
	out := maps.Clone(u.Object)
	if meta, ok := out["metadata"].(map[string]any); ok {
		out["metadata"] = maps.Clone(meta)
	}
	out["apiVersion"] = to.String()
	return &unstructured.Unstructured{Object: out}, nil
}

// conversion is a converter as a row wants it.
func conversion(f Convert, to schema.GroupVersion) func(object.Object) (object.Object, error) {
	return func(obj object.Object) (object.Object, error) {
		u, ok := obj.(*unstructured.Unstructured)
		if !ok {
			return nil, fmt.Errorf("a %T is no custom resource", obj)
		}
		if u.GetAPIVersion() == to.String() {
			return u, nil
		}
		out, err := f(u, to)
		if err != nil {
			return nil, err
		}
		return out, nil
	}
}
