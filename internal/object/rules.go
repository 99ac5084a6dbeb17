package object

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// rules is a Strategy written for one Go type.
type rules[T Object] struct {
	Default       func(T)
	PrepareCreate func(T)
	PrepareUpdate func(obj, old T)
	// Name, where it is set, is the rule of an object's name in place of the kind's, which no other part of the object has a say in.
	Name     func(T) NameRule
	Validate func(T) field.ErrorList
	// Compare is Validate for rules that an old object's values need not heed; old is nil on create.
	Compare        func(obj, old T) field.ErrorList
	ValidateCreate func(T) field.ErrorList // what only a new object has to heed
	ValidateUpdate func(obj, old T) field.ErrorList
	Warnings       func(obj, old T) []string
}

// strategy takes the Go type away. An object of another type, which only a caller's mistake can
// bring, is a validation error and is otherwise left alone.
func (r rules[T]) strategy() Strategy {
	var s Strategy
	if r.Default != nil {
		s.Default = on(r.Default)
	}
	if r.PrepareCreate != nil {
		s.PrepareCreate = on(r.PrepareCreate)
	}
	if r.PrepareUpdate != nil {
		s.PrepareUpdate = func(obj, old Object) {
			if n, o, ok := both[T](obj, old); ok {
				r.PrepareUpdate(n, o)
			}
		}
	}
	if r.Validate != nil {
		s.Validate = func(obj Object) field.ErrorList {
			t, ok := obj.(T)
			if !ok {
				return wrongType[T](obj)
			}
			return r.Validate(t)
		}
	}
	if r.ValidateUpdate != nil {
		s.ValidateUpdate = func(obj, old Object) field.ErrorList {
			n, o, ok := both[T](obj, old)
			if !ok {
				return wrongType[T](obj)
			}
			return r.ValidateUpdate(n, o)
		}
	}
	if r.Warnings != nil {
		s.Warnings = func(obj, old Object) []string {
			t, ok := obj.(T)
			if !ok {
				return nil
			}
			o, _ := old.(T)
			return r.Warnings(t, o)
		}
	}
	return s
}

func on[T Object](f func(T)) func(Object) {
	return func(obj Object) {
		if t, ok := obj.(T); ok {
			f(t)
		}
	}
}

func both[T Object](obj, old Object) (n, o T, ok bool) {
	n, ok1 := obj.(T)
	o, ok2 := old.(T)
	return n, o, ok1 && ok2
}

func wrongType[T Object](obj Object) field.ErrorList {
	var want T
	return field.ErrorList{field.InternalError(nil, fmt.Errorf("got a %T instead of a %T", obj, want))}
}

// selectableFields gives Kind.Fields for one Go type.
func selectableFields[T Object](f func(T) fields.Set) func(Object) fields.Set {
	return func(obj Object) fields.Set {
		t, ok := obj.(T)
		if !ok {
			return nil
		}
		return f(t)
	}
}

// cells gives Kind.Cells for one Go type.
func cells[T Object](f func(T, time.Time) []any) func(Object, time.Time) []any {
	return func(obj Object, now time.Time) []any {
		t, ok := obj.(T)
		if !ok {
			return []any{obj.GetName()}
		}
		return f(t, now)
	}
}

// version makes the Version of a pair of Go types.
func version[T, L any, PT interface {
	*T
	runtime.Object
}, PL interface {
	*L
	runtime.Object
}](gv schema.GroupVersion, kind string) Version {
	return Version{
		GroupVersion: gv,
		Kind:         kind,
		New:          func() runtime.Object { return PT(new(T)) },
		NewList:      func() runtime.Object { return PL(new(L)) },
	}
}

// review makes the Version of a kind that is only created, never listed.
func review[T any, PT interface {
	*T
	runtime.Object
}](gv schema.GroupVersion, kind string) Version {
	return Version{
		GroupVersion: gv,
		Kind:         kind,
		New:          func() runtime.Object { return PT(new(T)) },
		NewList:      func() runtime.Object { return &metav1.List{} },
	}
}

var writeVerbs = []string{"get", "patch", "update"}

// writes makes a subresource that changes a part of its parent.
func writes[T Object](name string, r rules[T]) Subresource {
	return Subresource{Name: name, Verbs: writeVerbs, Strategy: r.part()}
}

// scaleSubresource is served by the server's scale handler.
func scaleSubresource() Subresource {
	return Subresource{
		Name: "scale", Verbs: writeVerbs,
		GroupVersionKind: schema.GroupVersionKind{Group: "autoscaling", Version: "v1", Kind: "Scale"},
	}
}

// handled makes a subresource that a handler of the server answers.
func handled(name string, gvk schema.GroupVersionKind, verbs ...string) Subresource {
	return Subresource{Name: name, Verbs: verbs, GroupVersionKind: gvk}
}
