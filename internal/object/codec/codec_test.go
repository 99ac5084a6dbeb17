package codec

import (
	"bytes"
	"math/rand"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/apitesting/fuzzer"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metafuzzer "k8s.io/apimachinery/pkg/apis/meta/fuzzer"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"

	"hyperkube/internal/object"
)

func TestStorageRoundTrip(t *testing.T) {
	fuzz := fuzzer.FuzzerFor(metafuzzer.Funcs, rand.NewSource(1), serializer.NewCodecFactory(object.Scheme()))
	for _, k := range object.Builtin().All() {
		if k.Virtual {
			continue
		}
		t.Run(k.GroupResource().String(), func(t *testing.T) {
			for range 5 {
				obj, ok := k.Hub().New().(object.Object)
				if !ok {
					t.Fatalf("%T has no metadata", k.Hub().New())
				}
				fuzz.Fill(obj)
				obj.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
				if k.Default != nil {
					k.Default(obj)
				}
				data, err := EncodeStorage(k, obj)
				if err != nil {
					t.Fatal(err)
				}
				json := k.Hub().Group == apiextensions || k.Hub().Group == apiregistration
				if bytes.HasPrefix(data, []byte("{")) != json || bytes.HasPrefix(data, protoPrefix) == json {
					t.Fatalf("stored as %q…", data[:8])
				}
				back, err := DecodeStorage(k, data)
				if err != nil {
					t.Fatal(err)
				}
				if got := back.GetObjectKind().GroupVersionKind(); got != k.GroupVersionKind() {
					t.Errorf("came back as %s", got)
				}
				if want := WithKind(obj, k.GroupVersionKind()); !apiequality.Semantic.DeepEqual(want, back) {
					t.Errorf("changed in storage:\n%v\n%v", want, back)
				}
			}
		})
	}
}

func TestWireRoundTrip(t *testing.T) {
	gvk := corev1.SchemeGroupVersion.WithKind("Pod")
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "a<b>", Labels: map[string]string{"x": "y"}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}}}
	for _, mediaType := range []string{JSON, YAML, Protobuf} {
		data, err := Encode(pod, mediaType, gvk)
		if err != nil {
			t.Fatal(err)
		}
		if pod.Kind != "" {
			t.Fatalf("%s: encoding changed the object", mediaType)
		}
		got, kind, err := Decode(data, mediaType, nil, nil, false)
		if err != nil {
			t.Fatalf("%s: %v", mediaType, err)
		}
		if kind != gvk || !apiequality.Semantic.DeepEqual(got, WithKind(pod, gvk)) {
			t.Errorf("%s: came back as %s %v", mediaType, kind, got)
		}
	}
}

func TestDecodeStrictAndDefaultKind(t *testing.T) {
	def := appsv1.SchemeGroupVersion.WithKind("Deployment")
	for _, tc := range []struct {
		name, body, mediaType string
		strict                bool
		want                  string
	}{
		{"no kind", `{"metadata":{"name":"x"}}`, JSON, true, ""},
		{"lenient", `{"spec":{"foo":1}}`, JSON, false, ""},
		{"unknown", `{"spec":{"foo":1,"replicas":2}}`, JSON, true, `strict decoding error: unknown field "spec.foo"`},
		{"duplicate", `{"spec":{"replicas":1,"replicas":2}}`, JSON, true, `strict decoding error: duplicate field "spec.replicas"`},
		{"case", `{"spec":{"Replicas":1}}`, JSON, true, `strict decoding error: unknown field "spec.Replicas"`},
		{"yaml duplicate", "spec:\n  replicas: 1\n  replicas: 2\n", YAML, true, `line 3: key "replicas" already set in map`},
		{"wrong type", `{"spec":{"replicas":"two"}}`, JSON, false, `json: cannot unmarshal string into Go struct field`},
		{"not registered", `{"apiVersion":"apps/v7","kind":"Deployment"}`, JSON, false, `no kind "Deployment" is registered for version "apps/v7"`},
		{"syntax", `{`, JSON, false, `unexpected end of JSON input`},
		{"media type", `{}`, "text/plain", false, `no decoder for media type "text/plain"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			obj, gvk, err := Decode([]byte(tc.body), tc.mediaType, &def, nil, tc.strict)
			if tc.want == "" {
				if err != nil || gvk != def || obj.GetObjectKind().GroupVersionKind() != def {
					t.Fatalf("%v %s %v", obj, gvk, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("error %v, want %q", err, tc.want)
			}
			if runtime.IsStrictDecodingError(err) && obj == nil {
				t.Error("a strict decoding error without the object")
			}
		})
	}
}

func TestDecodeUnstructured(t *testing.T) {
	def := schema.GroupVersionKind{Group: "x.io", Version: "v1", Kind: "Foo"}
	u, err := DecodeUnstructured([]byte(`{"spec":{"n":3,"f":1.5}}`), JSON, &def, true)
	if err != nil {
		t.Fatal(err)
	}
	if n, _, _ := unstructured.NestedInt64(u.Object, "spec", "n"); n != 3 || u.GroupVersionKind() != def {
		t.Errorf("got %v", u.Object)
	}
	if _, err := DecodeUnstructured([]byte(`{"a":1,"a":2}`), JSON, &def, true); !runtime.IsStrictDecodingError(err) {
		t.Errorf("duplicate field: %v", err)
	}
	for _, bad := range []string{`{"kind":3}`, `[]`, `nonsense`} {
		if _, err := DecodeUnstructured([]byte(bad), JSON, nil, false); err == nil {
			t.Errorf("%s: no error", bad)
		}
	}
	if _, err := DecodeUnstructured([]byte(`null`), JSON, nil, false); !runtime.IsMissingKind(err) {
		t.Errorf("null: %v", err)
	}
	if _, err := EncodeProto(u, def); !protobuf.IsNotMarshalable(err) {
		t.Errorf("a custom resource as protobuf: %v", err)
	}
}

func TestWithKindCopiesOnlyWhenItMust(t *testing.T) {
	gvk := corev1.SchemeGroupVersion.WithKind("ConfigMap")
	cm := &corev1.ConfigMap{}
	named := WithKind(cm, gvk)
	if named == runtime.Object(cm) || cm.Kind != "" {
		t.Error("the object itself was changed")
	}
	if WithKind(named, gvk) != named {
		t.Error("an object that says its kind was copied")
	}
}
