package apply

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	smd "sigs.k8s.io/structured-merge-diff/v6/schema"

	"hyperkube/internal/object"
)

var update = flag.Bool("update", false, "write exceptions.txt anew")

// The table of what Go types do not say is what the schemas of the kinds say.
func TestExceptionsAreWhatTheSchemasSay(t *testing.T) {
	found := map[string]string{}
	m := New()
	for _, k := range object.Builtin().All() {
		for i := range k.Versions {
			v := &k.Versions[i]
			if k.Virtual {
				continue
			}
			types, err := m.types(v)
			if err != nil {
				t.Errorf("%s: %v", v.Kind, err)
				continue
			}
			obj := blank(v)
			typed, err := types.ObjectToTyped(obj)
			if err != nil {
				t.Errorf("%s: %v", v.Kind, err)
				continue
			}
			r := reader{t: t, s: typed.Schema(), found: found, seen: map[reflect.Type]bool{}}
			r.record(reflect.TypeOf(obj).Elem(), r.resolve(typed.TypeRef(), v.Kind))
		}
	}
	lines := []string{}
	for place, how := range found {
		lines = append(lines, place+" "+how+"\n")
	}
	slices.Sort(lines)
	text := strings.Join(lines, "")
	if *update {
		if err := os.WriteFile("exceptions.txt", []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if text != exceptionsText {
		t.Error("exceptions.txt is not what the schemas say: run this test with -update")
	}
}

// reader walks over a schema and the Go type that it is of.
type reader struct {
	t     *testing.T
	s     *smd.Schema
	found map[string]string
	seen  map[reflect.Type]bool
}

func (r *reader) resolve(ref smd.TypeRef, place string) smd.Atom {
	a, ok := r.s.Resolve(ref)
	if !ok {
		r.t.Errorf("%s: the schema has no type", place)
	}
	return a
}

func (r *reader) note(place, how string) {
	if was, ok := r.found[place]; ok && was != how {
		r.t.Errorf("%s: %q and %q", place, was, how)
	}
	r.found[place] = how
}

func (r *reader) record(t reflect.Type, a smd.Atom) {
	if r.seen[t] {
		return
	}
	r.seen[t] = true
	owner := t.PkgPath() + "." + t.Name()
	for i := range t.NumField() {
		f := t.Field(i)
		tag := jsonTag(f)
		switch {
		case tag.skip || tag.name == "managedFields":
		case tag.inline:
			r.record(f.Type, a)
		default:
			field, ok := a.Map.FindField(tag.name)
			if !ok {
				r.t.Errorf("%s: the schema has no field %s", owner, tag.name)
				continue
			}
			r.place(f.Type, owner+"."+tag.name, r.resolve(field.Type, owner))
		}
	}
}

func (r *reader) place(t reflect.Type, place string, a smd.Atom) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	whole := a.Map == nil || a.Map.ElementRelationship == smd.Atomic
	switch {
	case opaque(t):
		if !whole {
			r.t.Errorf("%s: a %s has parts that are owned", place, t)
		}
	case t.Kind() == reflect.Struct && whole, t.Kind() == reflect.Map && whole:
		r.note(place, "atomic")
	case t.Kind() == reflect.Struct:
		r.record(t, a)
	case t.Kind() == reflect.Map:
		r.place(t.Elem(), place+"{}", r.resolve(a.Map.ElementType, place))
	case t.Kind() == reflect.Slice && a.List != nil && a.List.ElementRelationship == smd.Associative:
		elem := r.resolve(a.List.ElementType, place)
		if len(a.List.Keys) == 0 {
			r.note(place, "set")
			return
		}
		keys := []string{}
		for _, key := range a.List.Keys {
			if f, _ := elem.Map.FindField(key); f.Default != nil && mayLack(t.Elem(), key) {
				key += fmt.Sprint(":", f.Default)
			}
			keys = append(keys, key)
		}
		r.note(place, "map="+strings.Join(keys, ","))
		r.place(t.Elem(), place+"[]", elem)
	}
}

// mayLack says whether items can be without a field at all.
func mayLack(t reflect.Type, name string) bool {
	for i := range t.NumField() {
		if tag := jsonTag(t.Field(i)); tag.name == name {
			return tag.omitEmpty || tag.omitZero
		}
	}
	return true
}
