// Package goform writes values of API types as error messages quote them. A message that quotes a whole structure shows it by the names
// of its Go fields, in their order, with all that is unset: clients have always seen the type the server works with, not the one that
// travels. Types of apimachinery, which are the same in both, keep their JSON.
package goform

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

type quoted struct{ value any }

// Of makes a value whose JSON is the Go form of v.
func Of(v any) json.Marshaler { return quoted{v} }

// MarshalJSON writes the value in its Go form.
func (q quoted) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	if err := write(&b, reflect.ValueOf(q.value)); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

var marshaler = reflect.TypeFor[json.Marshaler]()

// ownJSON tells which types are written as they travel.
func ownJSON(t reflect.Type) bool {
	return t.Implements(marshaler) || reflect.PointerTo(t).Implements(marshaler) || strings.HasPrefix(t.PkgPath(), "k8s.io/apimachinery/")
}

func write(b *bytes.Buffer, v reflect.Value) error {
	if !v.IsValid() {
		b.WriteString("null")
		return nil
	}
	if v.Kind() != reflect.Pointer && v.Kind() != reflect.Interface && ownJSON(v.Type()) {
		return plain(b, v)
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		return write(b, v.Elem())
	case reflect.Struct:
		b.WriteByte('{')
		first := true
		if err := fields(b, v, &first); err != nil {
			return err
		}
		b.WriteByte('}')
		return nil
	case reflect.Slice, reflect.Array:
		return list(b, v)
	case reflect.Map:
		return object(b, v)
	}
	return plain(b, v)
}

func plain(b *bytes.Buffer, v reflect.Value) error {
	data, err := json.Marshal(v.Interface())
	b.Write(data)
	return err
}

// fields writes what stands between the braces of a structure; what it embeds comes as its own fields.
func fields(b *bytes.Buffer, v reflect.Value, first *bool) error {
	comma := func() {
		if !*first {
			b.WriteByte(',')
		}
		*first = false
	}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		switch {
		case f.Anonymous && ownJSON(f.Type):
			data, err := json.Marshal(v.Field(i).Interface())
			if err != nil {
				return err
			}
			if inner := bytes.TrimSuffix(bytes.TrimPrefix(data, []byte("{")), []byte("}")); len(inner) > 0 {
				comma()
				b.Write(inner)
			}
		case f.Anonymous:
			if err := fields(b, reflect.Indirect(v.Field(i)), first); err != nil {
				return err
			}
		case f.IsExported():
			comma()
			fmt.Fprintf(b, "%q:", f.Name)
			if err := write(b, v.Field(i)); err != nil {
				return err
			}
		}
	}
	return nil
}

func list(b *bytes.Buffer, v reflect.Value) error {
	if v.Kind() == reflect.Slice && (v.IsNil() || v.Type().Elem().Kind() == reflect.Uint8) {
		return plain(b, v)
	}
	b.WriteByte('[')
	for i := range v.Len() {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := write(b, v.Index(i)); err != nil {
			return err
		}
	}
	b.WriteByte(']')
	return nil
}

func object(b *bytes.Buffer, v reflect.Value) error {
	if v.IsNil() || v.Type().Key().Kind() != reflect.String {
		return plain(b, v)
	}
	values := map[string]reflect.Value{}
	for _, k := range v.MapKeys() {
		values[k.String()] = v.MapIndex(k)
	}
	b.WriteByte('{')
	for i, k := range slices.Sorted(maps.Keys(values)) {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := json.Marshal(k)
		if err != nil {
			return err
		}
		b.Write(append(name, ':'))
		if err := write(b, values[k]); err != nil {
			return err
		}
	}
	b.WriteByte('}')
	return nil
}
