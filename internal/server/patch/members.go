package patch

import (
	"reflect"
	"strings"
	"sync"

	"hyperkube/internal/object"
	"hyperkube/internal/object/codec"
)

// ApplyTo makes the patched object out of the current one by way of JSON for only those members (metadata, spec, status) that the patch
// names: the others are copied. It gives what [Patch.Apply] and a decoder that finds nothing wrong would. False: something is wrong or unusual, and
// they are to be asked.
func (p *Patch) ApplyTo(current object.Object) (object.Object, bool) {
	touched, ok := p.members(reflect.TypeOf(current).Elem())
	if !ok {
		return nil, false
	}
	part, rest := shallow(current), shallow(current)
	for i := range part.NumField() {
		if !touched[i] {
			part.Field(i).SetZero()
		} else {
			rest.Field(i).SetZero()
		}
	}
	doc, err := codec.MarshalQuick(part.Addr().Interface())
	if err != nil {
		return nil, false
	}
	empty := reflect.New(part.Type())
	if doc, err = p.quick(doc, empty.Interface()); err != nil {
		return nil, false
	}
	if codec.UnmarshalQuick(doc, empty.Interface()) != nil {
		return nil, false
	}
	out, ok := rest.Addr().Interface().(object.Object).DeepCopyObject().(object.Object)
	if !ok {
		return nil, false
	}
	for i, has := range touched {
		if has {
			reflect.ValueOf(out).Elem().Field(i).Set(empty.Elem().Field(i))
		}
	}
	return out, true
}

func shallow(obj object.Object) reflect.Value {
	from := reflect.ValueOf(obj).Elem()
	to := reflect.New(from.Type()).Elem()
	to.Set(from)
	return to
}

// members says which fields of a type the patch touches; false when it may be any.
func (p *Patch) members(t reflect.Type) ([]bool, bool) {
	if len(p.fields) == 0 || len(p.Problems) > 0 || t.Kind() != reflect.Struct {
		return nil, false
	}
	index := fieldsOf(t)
	touched := make([]bool, t.NumField())
	for name := range p.fields {
		i, ok := index[name]
		if !ok { // a directive for the whole, the kind, or a field that there is not
			return nil, false
		}
		touched[i] = true
	}
	return touched, true
}

// fieldIndexes are the members of the JSON form of types and their fields: reflect.Type → map[string]int.
var fieldIndexes sync.Map

func fieldsOf(t reflect.Type) map[string]int {
	if known, ok := fieldIndexes.Load(t); ok {
		return known.(map[string]int)
	}
	index := map[string]int{}
	for i := range t.NumField() {
		f := t.Field(i)
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" && name != "-" {
			index[name] = i
		}
	}
	fieldIndexes.Store(t, index)
	return index
}
