package codec

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand"
	"reflect"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/apitesting/fuzzer"
	"k8s.io/apimachinery/pkg/api/resource"
	metafuzzer "k8s.io/apimachinery/pkg/apis/meta/fuzzer"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/intstr"

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

// TestEncodesAsEver compares the quick encoder with encoding/json on every version of every kind, and on what needs care.
func TestEncodesAsEver(t *testing.T) {
	check := func(t *testing.T, obj runtime.Object) {
		t.Helper()
		var want, got bytes.Buffer
		if err := json.NewEncoder(&want).Encode(obj); err != nil {
			t.Fatal(err)
		}
		if err := marshalQuick(&got, obj); err != nil {
			t.Fatal(err)
		}
		if got.WriteByte('\n'); !bytes.Equal(got.Bytes(), want.Bytes()) {
			t.Fatalf("encoded as\n%s\nwant\n%s", got.Bytes(), want.Bytes())
		}
	}
	fuzz := fuzzer.FuzzerFor(metafuzzer.Funcs, rand.NewSource(2), serializer.NewCodecFactory(object.Scheme())).MaxDepth(12).NumElements(0, 3)
	for _, k := range object.Builtin().All() {
		for i := range k.Versions {
			v := &k.Versions[i]
			t.Run(fmt.Sprint(v.GroupVersion.WithKind(v.Kind)), func(t *testing.T) {
				check(t, v.New())
				for range 5 {
					obj := v.New()
					fuzz.Fill(obj)
					check(t, obj)
				}
			})
		}
	}
	check(t, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: "<a>&\u2028\u2029\"\\\x00\x7f\t", Labels: map[string]string{"b": "", "a": "\u00e9", "<": ">"}, Finalizers: []string{},
			CreationTimestamp: metav1.NewTime(time.Date(2026, 1, 2, 3, 4, 5, 678, time.FixedZone("", 3600))), DeletionTimestamp: &metav1.Time{},
			ManagedFields: []metav1.ManagedFieldsEntry{{FieldsV1: &metav1.FieldsV1{Raw: []byte(" {\"f:<\" : {\n}, \"f:<\":{} } ")}}, {FieldsV1: &metav1.FieldsV1{}}},
		},
		Spec: corev1.PodSpec{
			Volumes: []corev1.Volume{}, NodeSelector: map[string]string{}, Priority: new(int32),
			Containers: []corev1.Container{{LivenessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Port: intstr.FromString("<p>")}}},
				Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{"cpu": resource.MustParse("0.10"), "memory": {}}}}},
		},
	})
	var broken bytes.Buffer
	if err := marshalQuick(&broken, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "a\xffb"}}); err != nil || !bytes.Contains(broken.Bytes(), []byte("\"a\ufffdb\"")) {
		t.Errorf("what is no UTF-8 is encoded as %s (%v)", broken.Bytes(), err)
	}
	check(t, &corev1.Secret{Data: map[string][]byte{"nil": nil, "none": {}, "some": {0, 0xff}}})
	check(t, &appsv1.ControllerRevision{Data: runtime.RawExtension{Raw: []byte(`{"a": "<\u003c", "b":1e2 ,"c":12345678901234567890}`)}})
	check(t, &unstructured.Unstructured{Object: map[string]any{"kind": "<K>", "apiVersion": "v1", "z": int64(1), "f": 1.0, "e": 1e21, "n": nil, "l": []any{}, "m": map[string]any{}}})
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
