package patch

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
)

const pod = `{"metadata":{"name":"p","labels":{"a":"1"}},"spec":{"containers":[{"name":"x","image":"i1"},{"name":"y","image":"i2"}]}}`

func TestApply(t *testing.T) {
	for name, c := range map[string]struct {
		kind  types.PatchType
		patch string
		want  string
	}{
		"json":      {types.JSONPatchType, `[{"op":"replace","path":"/spec/containers/0/image","value":"n"}]`, strings.Replace(pod, `"i1"`, `"n"`, 1)},
		"merge":     {types.MergePatchType, `{"metadata":{"labels":{"a":null,"b":"2"}}}`, strings.Replace(pod, `"a":"1"`, `"b":"2"`, 1)},
		"strategic": {types.StrategicMergePatchType, `{"spec":{"containers":[{"name":"y","image":"n"}]}}`, strings.Replace(pod, `"i2"`, `"n"`, 1)},
		"strategic delete": {types.StrategicMergePatchType, `{"spec":{"containers":[{"name":"y","$patch":"delete"}]}}`,
			strings.Replace(pod, `,{"name":"y","image":"i2"}`, ``, 1)},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := Parse(c.kind, []byte(c.patch), true)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // a patch may be applied again
				got, err := p.Apply([]byte(pod), &corev1.Pod{})
				if err != nil {
					t.Fatal(err)
				}
				var g, w any
				if json.Unmarshal(got, &g) != nil || json.Unmarshal([]byte(c.want), &w) != nil || !reflect.DeepEqual(g, w) {
					t.Fatalf("got %s, want %s", got, c.want)
				}
			}
		})
	}
}

func TestMistakes(t *testing.T) {
	for name, c := range map[string]struct {
		kind  types.PatchType
		patch string
		is    func(error) bool
	}{
		"not json":       {types.MergePatchType, `{`, apierrors.IsBadRequest},
		"not operations": {types.JSONPatchType, `{}`, apierrors.IsBadRequest},
		"path not there": {types.JSONPatchType, `[{"op":"remove","path":"/spec/none/1"}]`, apierrors.IsInvalid},
		"test fails":     {types.JSONPatchType, `[{"op":"test","path":"/metadata/name","value":"q"}]`, apierrors.IsInvalid},
		"too many":       {types.JSONPatchType, "[" + strings.Repeat(`{"op":"test","path":"/x","value":1},`, MaxOperations) + `{"op":"test","path":"/x","value":1}]`, apierrors.IsRequestEntityTooLargeError},
		"malformed":      {types.StrategicMergePatchType, `{"$deleteFromPrimitiveList":[]}`, apierrors.IsBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := Parse(c.kind, []byte(c.patch), true)
			if err == nil {
				_, err = p.Apply([]byte(pod), &corev1.Pod{})
			}
			if !c.is(err) {
				t.Fatalf("got %v", err)
			}
		})
	}
}

// TestStrategicPatchThatDoesNotFit is told what is wrong in plain words.
func TestStrategicPatchThatDoesNotFit(t *testing.T) {
	for body, want := range map[string]string{
		`{"spec":{"containers":[{"name":"x","$patch":"explode"}]}}`: "unknown patch type: explode in map: map[$patch:explode name:x]",
		`{"spec":{"containers":[{"image":"x"}]}}`:                   "map: map[image:x] does not contain declared merge key: name",
		`{"spec":3}`: ` "" is invalid: patch: Invalid value: "map[spec:3]": cannot restore struct from: int64`,
	} {
		p, err := Parse(types.StrategicMergePatchType, []byte(body), true)
		if err == nil {
			_, err = p.Into([]byte(pod), &corev1.Pod{}, true)
		}
		if err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", body, err, want)
		}
	}
}

// TestInto finds unknown fields and takes no notice of the kind.
func TestInto(t *testing.T) {
	p, err := Parse(types.StrategicMergePatchType, []byte(`{"kind":"Other","spec":{"nodeName":"n","nothing":1}}`), true)
	if err != nil {
		t.Fatal(err)
	}
	var out corev1.Pod
	problems, err := p.Into([]byte(pod), &out, true)
	if err != nil || len(problems) != 1 || problems[0].Error() != `unknown field "spec.nothing"` || out.Spec.NodeName != "n" {
		t.Fatalf("got %v, %v, %+v", problems, err, out.Spec)
	}
}
