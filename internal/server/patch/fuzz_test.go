package patch

import (
	"encoding/json"
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// FuzzPatch applies whatever a client sends: it ends in a JSON object or an error.
func FuzzPatch(f *testing.F) {
	kinds := []types.PatchType{types.JSONPatchType, types.MergePatchType, types.StrategicMergePatchType}
	for kind, seeds := range [][]string{
		{`[{"op":"add","path":"/spec/containers/-","value":{"name":"z"}}]`, `[{"op":"copy","from":"","path":"/spec/x"}]`, `[{"op":"move","from":"/spec","path":"/spec/a"}]`,
			`[{"op":"test","path":"/spec/containers/-1"}]`, `[{}]`, `[null]`, `[{"op":null,"path":null}]`},
		{`{"spec":null}`, `{"metadata":{"labels":{"a":{"b":[null]}}}}`, `null`, `[]`},
		{`{"spec":{"containers":[{"name":"x","$patch":"delete"}]}}`, `{"spec":{"$setElementOrder/containers":[{"name":"y"},{"name":"x"}]}}`, `{"$patch":"replace"}`,
			`{"spec":{"$retainKeys":["a"],"containers":null}}`, `{"metadata":{"$deleteFromPrimitiveList/finalizers":["a"]}}`, `{"spec":{"containers":{"x":1}}}`},
	} {
		for _, s := range seeds {
			f.Add(uint8(kind), []byte(s))
		}
	}
	f.Fuzz(func(t *testing.T, kind uint8, data []byte) {
		p, err := Parse(kinds[int(kind)%len(kinds)], data, true)
		if err != nil {
			return
		}
		for range 2 { // as after a conflict
			out, err := p.Apply([]byte(pod), &corev1.Pod{})
			if err != nil {
				return
			}
			if !json.Valid(out) {
				t.Fatalf("%s made %s", data, out)
			}
			_ = p.Refuse(out, errors.New("refused"))
		}
	})
}
