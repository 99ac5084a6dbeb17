package verdicts

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// variation changes an object at the paths, which are JSON pointers; null takes the field away.
type variation map[string]any

// String names a variation, the same on every run.
func (v variation) String() string {
	var parts []string
	for _, p := range slices.Sorted(maps.Keys(v)) {
		data, err := json.Marshal(v[p])
		if err != nil {
			panic(err)
		}
		text := string(data)
		if len(text) > 60 {
			text = fmt.Sprintf("%s…(%d)", text[:60], len(text))
		}
		parts = append(parts, p+"="+text)
	}
	return strings.Join(parts, " ")
}

// apply gives a changed copy of an object.
func (v variation) apply(obj map[string]any) (map[string]any, error) {
	var out any = runtime.DeepCopyJSON(obj)
	for _, p := range slices.Sorted(maps.Keys(v)) {
		var err error
		if out, err = put(out, strings.Split(p, "/")[1:], v[p]); err != nil {
			return nil, fmt.Errorf("%s: %w", p, err)
		}
	}
	return out.(map[string]any), nil
}

var unescape = strings.NewReplacer("~1", "/", "~0", "~")

func escape(key string) string { return strings.NewReplacer("~", "~0", "/", "~1").Replace(key) }

func put(at any, path []string, value any) (any, error) {
	if len(path) == 0 {
		return runtime.DeepCopyJSONValue(value), nil
	}
	key := unescape.Replace(path[0])
	switch o := at.(type) {
	case nil:
		if key == "0" {
			return put([]any{}, path, value)
		}
		return put(map[string]any{}, path, value)
	case map[string]any:
		if len(path) == 1 && value == nil {
			delete(o, key)
			return o, nil
		}
		n, err := put(o[key], path[1:], value)
		o[key] = n
		return o, err
	case []any:
		i, err := strconv.Atoi(key)
		if err != nil || i > len(o) {
			return nil, fmt.Errorf("no element %q", key)
		}
		if i == len(o) {
			o = append(o, nil)
		}
		if len(path) == 1 && value == nil {
			return slices.Delete(o, i, i+1), nil
		}
		o[i], err = put(o[i], path[1:], value)
		return o, err
	}
	return nil, fmt.Errorf("nothing can be put at %q", key)
}

// vary gives every variation of an object of a Go type, in the order of the type's fields: of each field that is there, and one level
// deep of those that are not. Metadata of the object itself is varied by varyMeta.
func vary(t reflect.Type, obj map[string]any) []variation {
	var all []variation
	walk(t, obj, "", func(p string, v any) { all = append(all, variation{p: v}) })
	return all
}

var (
	timeType      = reflect.TypeFor[metav1.Time]()
	microTimeType = reflect.TypeFor[metav1.MicroTime]()
	durationType  = reflect.TypeFor[metav1.Duration]()
	quantityType  = reflect.TypeFor[resource.Quantity]()
	intstrType    = reflect.TypeFor[intstr.IntOrString]()
	rawType       = reflect.TypeFor[runtime.RawExtension]()
	metaType      = reflect.TypeFor[metav1.ObjectMeta]()
	fieldsType    = reflect.TypeFor[metav1.FieldsV1]()
	stringType    = reflect.TypeFor[string]()
	marshaler     = reflect.TypeFor[json.Marshaler]()
)

const bad = "Bad_Value!"

var long = strings.Repeat("a", 260)

// values are what a field of a simple type is set to; present says that the object has another value there. false: the type is not simple.
func values(t reflect.Type, present bool) ([]any, bool) {
	switch t {
	case timeType, microTimeType:
		return []any{"2020-01-02T03:04:05Z"}, true
	case durationType:
		return []any{"-1s", "0s"}, true
	case quantityType:
		return []any{"-1", "0", "1m", "1500"}, true
	case intstrType:
		return []any{int64(-1), int64(0), int64(70000), bad, "150%", "-5%"}, true
	case rawType, fieldsType:
		return []any{map[string]any{}}, true
	}
	switch t.Kind() {
	case reflect.String:
		if t != stringType {
			return []any{"", "Bad"}, true
		}
		if present {
			return []any{"", bad, "x", long}, true
		}
		return []any{bad, "x"}, true
	case reflect.Bool:
		return []any{true, false}, true
	case reflect.Int, reflect.Int32, reflect.Int64, reflect.Uint8, reflect.Uint16, reflect.Uint32:
		return []any{int64(-1), int64(0), int64(1), int64(70000)}, true
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return []any{"", "AA=="}, true
		}
	}
	return nil, t.Implements(marshaler) || reflect.PointerTo(t).Implements(marshaler)
}

func walk(t reflect.Type, at any, path string, emit func(string, any)) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if all, simple := values(t, true); simple {
		for _, v := range all {
			if !reflect.DeepEqual(v, at) {
				emit(path, v)
			}
		}
		return
	}
	switch t.Kind() {
	case reflect.Struct:
		if o, ok := at.(map[string]any); ok {
			walkStruct(t, o, path, emit)
		}
	case reflect.Slice:
		if o, ok := at.([]any); ok {
			walkSlice(t, o, path, emit)
		}
	case reflect.Map:
		if o, ok := at.(map[string]any); ok {
			walkMap(t, o, path, emit)
		}
	}
}

func walkStruct(t reflect.Type, o map[string]any, path string, emit func(string, any)) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, opts, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" && (strings.Contains(opts, "inline") || f.Anonymous) {
			ft := f.Type
			for ft.Kind() == reflect.Pointer {
				ft = ft.Elem()
			}
			if f.Type != reflect.TypeFor[metav1.TypeMeta]() {
				walkStruct(ft, o, path, emit)
			}
			continue
		}
		if name == "" || name == "-" || (t == metaType && !slices.Contains([]string{"name", "labels", "annotations", "finalizers", "ownerReferences"}, name)) ||
			(path == "" && name == "metadata") {
			continue
		}
		p := path + "/" + name
		if child, ok := o[name]; ok {
			emit(p, nil)
			walk(f.Type, child, p, emit)
			continue
		}
		absent(f.Type, p, emit)
	}
}

// absent sets a field that the object does not have.
func absent(t reflect.Type, path string, emit func(string, any)) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if all, simple := values(t, false); simple {
		for _, v := range all {
			emit(path, v)
		}
		return
	}
	switch t.Kind() {
	case reflect.Struct:
		emit(path, map[string]any{})
	case reflect.Slice:
		emit(path, []any{element(t.Elem())})
	case reflect.Map:
		emit(path, map[string]any{"Bad Key!": element(t.Elem())})
	}
}

// element is something to put into a list or map.
func element(t reflect.Type) any {
	if all, simple := values(t, false); simple {
		if len(all) == 0 {
			return map[string]any{}
		}
		return all[0]
	}
	switch t.Kind() {
	case reflect.Slice:
		return []any{element(t.Elem())}
	case reflect.Pointer:
		return element(t.Elem())
	}
	return map[string]any{}
}

func walkSlice(t reflect.Type, o []any, path string, emit func(string, any)) {
	emit(path, []any{})
	if len(o) == 0 {
		return
	}
	next := path + "/" + strconv.Itoa(len(o))
	emit(next, o[0]) // twice
	emit(next, element(t.Elem()))
	for i := range min(len(o), 3) {
		walk(t.Elem(), o[i], path+"/"+strconv.Itoa(i), emit)
	}
}

func walkMap(t reflect.Type, o map[string]any, path string, emit func(string, any)) {
	emit(path, map[string]any{})
	emit(path+"/Bad Key!", element(t.Elem()))
	emit(path+"/example.com~1x", element(t.Elem()))
	for _, k := range slices.Sorted(maps.Keys(o)) {
		walk(t.Elem(), o[k], path+"/"+escape(k), emit)
	}
}

// varyMeta are variations of the metadata of an object itself.
func varyMeta(namespaced bool) []variation {
	owner := func(name string, controller bool) map[string]any {
		return map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": "1", "controller": controller}
	}
	list := func(all ...any) []any { return all }
	all := []variation{
		{"/metadata/name": nil},
		{"/metadata/name": "Bad_Value!"},
		{"/metadata/name": "Upper"},
		{"/metadata/name": "a.b"},
		{"/metadata/name": "9a"},
		{"/metadata/name": "a:b"},
		{"/metadata/name": "a/b"},
		{"/metadata/name": ".."},
		{"/metadata/name": strings.Repeat("a", 64)},
		{"/metadata/name": strings.Repeat("a", 254)},
		{"/metadata/name": nil, "/metadata/generateName": "Bad_Value!"},
		{"/metadata/name": nil, "/metadata/generateName": "g-"},
		{"/metadata/generateName": "Bad_Value!"},
		{"/metadata/labels": map[string]any{"Bad Key!": "x"}},
		{"/metadata/labels": map[string]any{"x": "bad value!"}},
		{"/metadata/labels": map[string]any{"x": strings.Repeat("a", 64)}},
		{"/metadata/labels": map[string]any{"kubernetes.io/x": "y"}},
		{"/metadata/annotations": map[string]any{"Bad Key!": "x"}},
		{"/metadata/annotations": map[string]any{"kubernetes.io/x": "y"}},
		{"/metadata/finalizers": list("x")},
		{"/metadata/finalizers": list("bad one!")},
		{"/metadata/finalizers": list("example.com/f", "example.com/f")},
		{"/metadata/finalizers": list("orphan", "foregroundDeletion")},
		{"/metadata/ownerReferences": list(map[string]any{})},
		{"/metadata/ownerReferences": list(owner("a", true), owner("b", true))},
		{"/metadata/ownerReferences": list(owner("a", false), owner("a", false))},
		{"/metadata/ownerReferences": list(map[string]any{"apiVersion": "v1", "kind": "Event", "name": "a", "uid": "1"})},
		{"/metadata/ownerReferences": list(map[string]any{"apiVersion": "a/b/c", "kind": "X", "name": "a", "uid": "1"})},
		{"/metadata/generation": int64(-1)},
		{"/metadata/generation": int64(7)},
		{"/metadata/uid": "other"},
		{"/metadata/resourceVersion": "1"},
		{"/metadata/resourceVersion": "x"},
		{"/metadata/resourceVersion": nil},
		{"/metadata/creationTimestamp": "2020-01-02T03:04:05Z"},
		{"/metadata/deletionTimestamp": "2020-01-02T03:04:05Z"},
		{"/metadata/deletionGracePeriodSeconds": int64(5)},
		{"/kind": "Other"},
		{"/apiVersion": "other/v1"},
	}
	if namespaced {
		return append(all, variation{"/metadata/namespace": "other"})
	}
	return append(all, variation{"/metadata/namespace": "some"})
}
