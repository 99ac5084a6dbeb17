package codec

import (
	"fmt"
	"math/rand"
	"reflect"
	"testing"

	"k8s.io/apimachinery/pkg/api/apitesting/fuzzer"
	metafuzzer "k8s.io/apimachinery/pkg/apis/meta/fuzzer"
	"k8s.io/apimachinery/pkg/runtime/serializer"

	"hyperkube/internal/object"
)

// TestQuickDecodesWhatIsPlain compares both decoders on every version of every kind: no kind may need the slow one, and none may come out
// different.
func TestQuickDecodesWhatIsPlain(t *testing.T) {
	fuzz := fuzzer.FuzzerFor(metafuzzer.Funcs, rand.NewSource(1), serializer.NewCodecFactory(object.Scheme())).MaxDepth(12).NumElements(0, 3)
	for _, k := range object.Builtin().All() {
		for i := range k.Versions {
			v := &k.Versions[i]
			gvk := v.GroupVersion.WithKind(v.Kind)
			t.Run(fmt.Sprint(gvk), func(t *testing.T) {
				for range 3 {
					obj := v.New()
					fuzz.Fill(obj)
					data, err := EncodeJSON(obj, gvk)
					if err != nil {
						t.Fatal(err)
					}
					want, _, err := shared().jsonStrict.Decode(data, &gvk, nil)
					if err != nil {
						t.Fatal(err)
					}
					got, ok := decodeQuick(data, gvk)
					if !ok {
						t.Fatalf("not decoded: %v\n%s", UnmarshalQuick(data, v.New()), data)
					}
					if !reflect.DeepEqual(got, want) {
						t.Fatalf("decoded otherwise:\n%s\n%#v\n%#v", data, got, want)
					}
				}
			})
		}
	}
}

// TestQuickLeavesTheRest has what only the ordinary decoder may judge, and what both must read alike.
func TestQuickLeavesTheRest(t *testing.T) {
	gvk := object.Builtin().All()[0].GroupVersionKind()
	for _, k := range object.Builtin().All() {
		if k.Resource == "pods" && k.Hub().Group == "" {
			gvk = k.GroupVersionKind()
		}
	}
	for body, plain := range map[string]bool{
		`{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a"}}`:                                                                             true,
		`{"kind":"Pod","apiVersion":"v1","metadata":{"labels":{},"annotations":null,"name":"\u00e9"}}`:                                         true,
		`{"kind":"Pod","apiVersion":"v1","spec":{"containers":[],"volumes":null,"nodeSelector":{}}}`:                                           true,
		`{"kind":"Pod","apiVersion":"v1","spec":{"containers":[{"resources":{"limits":{"cpu":1,"memory":"1.5Gi","x":null}},"ports":[null]}]}}`: true,
		`{"kind":"Pod","apiVersion":"v1","spec":null,"status":null,"metadata":null}`:                                                           true,
		`{"kind":"Pod","apiVersion":"v1","spec":{"priority":-0,"activeDeadlineSeconds":10}}`:                                                   true,
		`{"kind":"Pod","apiVersion":"v1","spec":{"readinessGates":[{}],"hostAliases":[{"ip":""}]}}`:                                            true,
		`{"kind":"Pod","apiVersion":"v1","metadata":{"managedFields":[{"fieldsV1":{"f:x": {} , "f:x2":{}}}]}}`:                                 true,
		`{"kind":"Pod","apiVersion":"v1","spec":{"priority":1.0}}`:                                                                             false,
		`{"kind":"Pod","apiVersion":"v1","spec":{"priority":1e1}}`:                                                                             false,
		`{"kind":"Pod","apiVersion":"v1","spec":{"priority":99999999999}}`:                                                                     false,
		`{"kind":"Pod","apiVersion":"v1","spec":{"Priority":1}}`:                                                                               false,
		`{"kind":"Pod","apiVersion":"v1","spec":{"foo":1}}`:                                                                                    false,
		`{"kind":"Pod","apiVersion":"v1","spec":{},"spec":{}}`:                                                                                 false,
		`{"kind":"Pod","apiVersion":"v1","metadata":{"labels":{"a":"b","a":"c"}}}`:                                                             false,
		"{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"\xff\"}}":                                                            false,
		`{"kind":"Pod","apiVersion":"v1"} x`:                                                                                                   false,
		`{"kind":"Pod","metadata":{}}`:                                                                                                         false,
		`{"kind":"Pod","apiVersion":"v2"}`:                                                                                                     false,
		`{}`:                                                                                                                                   false,
		``:                                                                                                                                     false,
	} {
		got, ok := decodeQuick([]byte(body), gvk)
		if ok != plain {
			t.Errorf("%s: read %v", body, ok)
		}
		want, _, err := shared().jsonStrict.Decode([]byte(body), &gvk, nil)
		if ok && (err != nil || !reflect.DeepEqual(got, want)) {
			t.Errorf("%s: %#v, want %#v (%v)", body, got, want, err)
		}
	}
}

// FuzzQuick looks for JSON that the two decoders read differently.
func FuzzQuick(f *testing.F) {
	kinds := object.Builtin().All()
	for i, k := range kinds {
		f.Add(uint8(i), []byte(fmt.Sprintf(`{"kind":%q,"apiVersion":%q,"metadata":{"name":"x"},"spec":{"replicas":1,"a":null},"status":{}}`, k.Hub().Kind, k.Hub().GroupVersion)))
	}
	f.Fuzz(func(t *testing.T, which uint8, data []byte) {
		gvk := kinds[int(which)%len(kinds)].GroupVersionKind()
		got, ok := decodeQuick(data, gvk)
		if !ok {
			return
		}
		want, _, err := shared().jsonStrict.Decode(data, &gvk, nil)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %#v, want %#v (%v)", data, got, want, err)
		}
	})
}
