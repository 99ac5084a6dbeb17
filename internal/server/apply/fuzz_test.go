package apply

import (
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"hyperkube/internal/object"
	"hyperkube/internal/object/codec"
)

// FuzzApply merges whatever a client sends into a pod, and into nothing: it ends in an object of the kind, with managers, or in an error.
func FuzzApply(f *testing.F) {
	for _, s := range []string{
		"apiVersion: v1\nkind: Pod\nmetadata: {name: p, labels: {app: other}}\nspec: {containers: [{name: web, image: new}]}",
		`{"apiVersion":"v1","kind":"Pod","metadata":3}`, `{"apiVersion":"v1","kind":"Pod","metadata":{"managedFields":[]}}`,
		`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","finalizers":["a","a"]}}`, `{"apiVersion":"v1","kind":"Pod","spec":{"containers":[{"name":null}]}}`,
		`{"apiVersion":"v1","kind":"Pod","spec":{"containers":[{},{}],"volumes":{"name":"x"}}}`, `{"apiVersion":"v1","kind":"Pod","spec":null,"unknown":[[[]]]}`,
		`{"apiVersion":"v1","kind":"Pod","spec":{"containers":[{"name":"web","resources":{"requests":{"cpu":1e99}}}],"overhead":{"cpu":"x"}}}`,
	} {
		f.Add([]byte(s), false)
		f.Add([]byte(s), true)
	}
	gvk := schema.GroupVersionKind{Version: "v1", Kind: "Pod"}
	k, v := object.Builtin().Kind(gvk)
	m := New()
	live, err := m.TrackNew(k, v, benchPod(), "first")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte, force bool) {
		want, err := codec.DecodeUnstructured(data, codec.YAML, nil, false)
		if err != nil || want.GroupVersionKind() != gvk {
			return
		}
		for _, into := range []object.Object{live, nil} {
			out, err := m.Apply(k, v, "", into, want.DeepCopy(), "second", force)
			if err != nil {
				continue
			}
			if out == nil || out.GetObjectKind().GroupVersionKind() != gvk && out.GetObjectKind().GroupVersionKind().Kind != "" {
				t.Fatalf("%s made %v", data, out)
			}
			if _, err := codec.EncodeJSON(out, gvk); err != nil {
				t.Fatalf("%s made what cannot be written: %v", data, err)
			}
		}
	})
}
