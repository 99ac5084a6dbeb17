package apply

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"hyperkube/internal/object"
	"hyperkube/internal/object/codec"
)

// converter brings objects of one row to another of its versions, and from their untyped form to their Go type.
type converter struct{ kind *object.Kind }

// Convert is not used by the field managers.
func (c converter) Convert(in, out, context any) error {
	return fmt.Errorf("conversion of a %T into a %T", in, out)
}

// ConvertFieldLabel is not used by the field managers.
func (c converter) ConvertFieldLabel(_ schema.GroupVersionKind, label, value string) (string, string, error) {
	return label, value, nil
}

// ConvertToVersion brings in to the version that gv names.
func (c converter) ConvertToVersion(in runtime.Object, gv runtime.GroupVersioner) (runtime.Object, error) {
	obj, from, err := c.typed(in)
	if err != nil {
		return nil, err
	}
	want, ok := gv.KindForGroupVersionKinds(c.kinds())
	if !ok {
		return nil, runtime.NewNotRegisteredErrForTarget("the object table", nil, gv)
	}
	to := c.version(want.GroupVersion())
	if to == nil {
		return nil, runtime.NewNotRegisteredErrForKind("the object table", want)
	}
	if from == to {
		return obj, nil
	}
	hub := obj
	if from.ToHub != nil {
		if hub, err = from.ToHub(obj); err != nil {
			return nil, err
		}
	}
	if to.FromHub == nil {
		hub.GetObjectKind().SetGroupVersionKind(want)
		return hub, nil
	}
	return to.FromHub(hub)
}

// typed gives an object of the row's own Go type, and its version.
func (c converter) typed(in runtime.Object) (object.Object, *object.Version, error) {
	gvk := in.GetObjectKind().GroupVersionKind()
	v := c.version(gvk.GroupVersion())
	if v == nil {
		return nil, nil, runtime.NewNotRegisteredErrForKind("the object table", gvk)
	}
	if u, ok := in.(*unstructured.Unstructured); ok {
		if _, custom := v.New().(*unstructured.Unstructured); custom {
			return u, v, nil
		}
		out, ok := v.New().(object.Object)
		if !ok {
			return nil, nil, fmt.Errorf("a %s has no metadata", gvk.Kind)
		}
		if err := codec.ToTyped(u, out); err != nil {
			return nil, nil, err
		}
		return out, v, nil
	}
	obj, ok := in.(object.Object)
	if !ok {
		return nil, nil, fmt.Errorf("a %T has no metadata", in)
	}
	return obj, v, nil
}

func (c converter) version(gv schema.GroupVersion) *object.Version {
	for i := range c.kind.Versions {
		if c.kind.Versions[i].GroupVersion == gv {
			return &c.kind.Versions[i]
		}
	}
	return nil
}

func (c converter) kinds() []schema.GroupVersionKind {
	out := make([]schema.GroupVersionKind, len(c.kind.Versions))
	for i := range c.kind.Versions {
		out[i] = c.kind.Versions[i].GroupVersion.WithKind(c.kind.Versions[i].Kind)
	}
	return out
}

// Default does nothing: the pipeline defaults what an apply gives like every other object.
func (c converter) Default(runtime.Object) {}

// New makes an empty object of the row.
func (c converter) New(gvk schema.GroupVersionKind) (runtime.Object, error) {
	v := c.version(gvk.GroupVersion())
	if v == nil {
		return nil, runtime.NewNotRegisteredErrForKind("the object table", gvk)
	}
	return blank(v), nil
}

// toHub brings what a field manager made back to the hub version.
func toHub(k *object.Kind, in runtime.Object) (object.Object, error) {
	out, err := converter{k}.ConvertToVersion(in, k.Hub().GroupVersion)
	if err != nil {
		return nil, err
	}
	obj, ok := out.(object.Object)
	if !ok {
		return nil, fmt.Errorf("a %T has no metadata", out)
	}
	return obj, nil
}
