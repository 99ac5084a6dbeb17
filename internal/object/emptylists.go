package object

import (
	"reflect"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/runtime"
)

// DropEmptyLists makes lists that hold nothing nil where JSON tells the two apart ([] and null). What is stored in protobuf does not
// know such lists, so without this an object would look different once it was read back.
func DropEmptyLists(obj runtime.Object) {
	v := reflect.ValueOf(obj)
	if _, ok := obj.(interface{ Marshal() ([]byte, error) }); !ok || v.Kind() != reflect.Pointer || v.IsNil() {
		return // stored as JSON
	}
	listsOf(v.Type().Elem()).visit(v.Elem())
}

// lists are the places of a structure at which, or below which, JSON shows a list that holds nothing.
type lists struct {
	places []place
}

type place struct {
	field int
	shown bool   // JSON shows the field's own empty list
	below *lists // what its value, or each of its elements, has; nil: nothing
}

var (
	listsMu sync.RWMutex
	listsBy = map[reflect.Type]*lists{}
)

func listsOf(t reflect.Type) *lists {
	listsMu.RLock()
	l := listsBy[t]
	listsMu.RUnlock()
	if l != nil {
		return l
	}
	listsMu.Lock()
	defer listsMu.Unlock()
	return compileLists(t)
}

// compileLists works out the places of a structure. Types that contain themselves are found in the table half made.
func compileLists(t reflect.Type) *lists {
	if l := listsBy[t]; l != nil {
		return l
	}
	l := &lists{}
	listsBy[t] = l
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("json")
		if !f.IsExported() || tag == "-" {
			continue
		}
		of, isList := f.Type, false
		for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice {
			isList = isList || of.Kind() == reflect.Slice
			of = of.Elem()
		}
		p := place{field: i, shown: isList && f.Type.Kind() == reflect.Slice && of.Kind() != reflect.Uint8 && !strings.Contains(tag, ",omit")}
		if of.Kind() == reflect.Struct {
			p.below = compileLists(of)
			if len(p.below.places) == 0 && !recursive(of, t) {
				p.below = nil
			}
		}
		if p.shown || p.below != nil {
			l.places = append(l.places, p)
		}
	}
	return l
}

// recursive says whether the places of a type may still be incomplete, as it contains the one that is worked out.
func recursive(of, t reflect.Type) bool {
	seen := map[reflect.Type]bool{}
	var reaches func(reflect.Type) bool
	reaches = func(x reflect.Type) bool {
		for x.Kind() == reflect.Pointer || x.Kind() == reflect.Slice {
			x = x.Elem()
		}
		if x == t {
			return true
		}
		if x.Kind() != reflect.Struct || seen[x] {
			return false
		}
		seen[x] = true
		for i := range x.NumField() {
			if reaches(x.Field(i).Type) {
				return true
			}
		}
		return false
	}
	return reaches(of)
}

func (l *lists) visit(v reflect.Value) {
	for _, p := range l.places {
		f := v.Field(p.field)
		if p.shown && f.Len() == 0 && !f.IsNil() {
			f.SetZero()
			continue
		}
		if p.below != nil {
			p.below.each(f)
		}
	}
}

// each visits a value through pointers and lists.
func (l *lists) each(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			l.each(v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			l.each(v.Index(i))
		}
	case reflect.Struct:
		l.visit(v)
	}
}
