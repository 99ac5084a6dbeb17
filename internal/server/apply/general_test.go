package apply

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"

	"hyperkube/internal/object"
)

// filler fills objects with what may be in them.
type filler struct {
	*rand.Rand
	odd int // one in so many strings is odd; zero: none
}

func (f *filler) text() string {
	if f.odd > 0 && f.IntN(f.odd) == 0 {
		return []string{`a"b`, "ü", "<&>", `\`, "a\nb"}[f.IntN(5)]
	}
	return []string{"", "a", "b", "c", "d/e.f", "k:v", "80", "longer text with spaces"}[f.IntN(8)]
}

func (f *filler) fill(v reflect.Value, depth int) {
	if v.CanAddr() {
		switch x := v.Addr().Interface().(type) {
		case *metav1.Time:
			*x = metav1.Unix(int64(f.IntN(3)*1000), 0)
			return
		case *metav1.MicroTime:
			*x = metav1.NewMicroTime(time.Unix(int64(f.IntN(3)*1000), 0))
			return
		case *resource.Quantity:
			*x = resource.MustParse([]string{"1", "1000m", "2Gi"}[f.IntN(3)])
			return
		case *intstr.IntOrString:
			*x = intstr.Parse([]string{"80", "http"}[f.IntN(2)])
			return
		case *runtime.RawExtension:
			x.Raw = []byte([]string{`{"a":1}`, `{"a":{"b":[]}}`}[f.IntN(2)])
			return
		case *[]metav1.ManagedFieldsEntry:
			return
		}
	}
	if opaque(v.Type()) || depth > 9 {
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() && f.IntN(3) > 0 {
				f.fill(v.Field(i), depth+1)
			}
		}
	case reflect.Pointer:
		v.Set(reflect.Zero(v.Type()))
		if f.IntN(3) > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			f.fill(v.Elem(), depth+1)
		}
	case reflect.Slice:
		n := f.IntN(4)
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			f.fill(v.Index(i), depth+1)
			f.named(v.Index(i))
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range f.IntN(3) {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			f.fill(key, depth+1)
			f.fill(value, depth+1)
			v.SetMapIndex(key, value)
		}
	case reflect.String:
		v.SetString(f.text())
	case reflect.Bool:
		v.SetBool(f.IntN(2) == 0)
	case reflect.Int32, reflect.Int64, reflect.Int:
		v.SetInt(int64(f.IntN(12)))
	case reflect.Uint8:
		v.SetUint(uint64(f.IntN(200)))
	case reflect.Float64:
		v.SetFloat(float64(f.IntN(9)) / 4)
	}
}

// named gives an item of a status what it is known by: a list without that is in error, which the quick way does not look for in the fields that an
// endpoint writes back.
func (f *filler) named(item reflect.Value) {
	if item.Kind() != reflect.Struct {
		return
	}
	for _, name := range []string{"Type", "Name"} {
		if at := item.FieldByName(name); at.IsValid() && at.Kind() == reflect.String && at.Len() == 0 {
			at.SetString("named")
		}
	}
}

// change refills some parts of an object.
func (f *filler) change(v reflect.Value, depth int) {
	if opaque(v.Type()) || f.IntN(6) == 0 {
		f.fill(v, depth)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() && f.IntN(2) == 0 {
				f.change(v.Field(i), depth+1)
			}
		}
	case reflect.Pointer:
		if !v.IsNil() {
			f.change(v.Elem(), depth+1)
		}
	case reflect.Slice:
		for i := range v.Len() {
			f.change(v.Index(i), depth+1)
			f.named(v.Index(i))
		}
	}
}

func (f *filler) object(k *object.Kind) object.Object {
	obj := blank(k.Hub()).(object.Object)
	f.fill(reflect.ValueOf(obj).Elem(), 0)
	obj.GetObjectKind().SetGroupVersionKind(k.GroupVersionKind())
	obj.SetUID("u")
	return obj
}

// managers lists who manages what, without the times, which are of the clock.
func managers(obj runtime.Object) string {
	var out strings.Builder
	for _, e := range obj.(object.Object).GetManagedFields() {
		e.Time = nil
		line, _ := json.Marshal(e)
		fmt.Fprintf(&out, "%s\n", line)
	}
	return out.String()
}

// The quick way comes to what the general one does, for every kind.
func TestTrackingIsWhatTheGeneralWayComesTo(t *testing.T) {
	m := New()
	quick, slow := 0, 0
	for _, k := range object.Builtin().All() {
		if k.Virtual {
			continue
		}
		for i := range k.Versions {
			v := &k.Versions[i]
			f := &filler{Rand: rand.New(rand.NewPCG(1, uint64(i)))}
			if p := m.planOf(reflect.TypeOf(v.New()).Elem()); p == nil {
				_, err := newPlan(reflect.TypeOf(v.New()).Elem())
				t.Errorf("%s has no plan: %v", v.Kind, err)
				continue
			}
			for round := range 12 {
				if f.odd = 0; round%4 == 3 {
					f.odd = 30
				}
				created := f.object(k)
				fm, err := m.manager(k, v, "")
				if err != nil {
					t.Fatal(err)
				}
				want := fm.UpdateNoErrors(blank(v), created.DeepCopyObject(), "maker")
				got, err := m.TrackNew(k, v, created.DeepCopyObject().(object.Object), "maker")
				if err != nil {
					t.Fatal(err)
				}
				if managers(got) != managers(want) {
					t.Errorf("%s created:\ngot  %swant %s", v.GroupVersion.WithKind(v.Kind), managers(got), managers(want))
					break
				}
				for _, sub := range []string{"", "status"} {
					now := got.DeepCopyObject().(object.Object)
					f.change(reflect.ValueOf(now).Elem(), 0)
					now.GetObjectKind().SetGroupVersionKind(k.GroupVersionKind())
					now.SetManagedFields(got.GetManagedFields())
					now.SetUID("u")
					if fm, err = m.manager(k, v, sub); err != nil {
						t.Fatal(err)
					}
					manager := []string{"maker", "other", "third"}[f.IntN(3)]
					if _, ok, _ := m.follow(k, v, sub, now, got, manager); ok {
						quick++
					} else {
						slow++
					}
					want := fm.UpdateNoErrors(got, now.DeepCopyObject(), manager)
					next, err := m.Track(k, v, sub, now, got, manager)
					if err != nil {
						t.Fatal(err)
					}
					if managers(next) != managers(want) {
						t.Errorf("%s updated (%s):\ngot  %swant %s", v.GroupVersion.WithKind(v.Kind), sub, managers(next), managers(want))
						break
					}
					got = next
				}
			}
		}
	}
	t.Logf("%d quick, %d general", quick, slow)
	if quick == 0 || slow == 0 {
		t.Error("only one of the ways was gone")
	}
}
