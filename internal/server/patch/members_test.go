package patch

import (
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"hyperkube/internal/object/codec"
)

// TestApplyToMakesWhatApplyMakes patches a pod in both ways.
func TestApplyToMakesWhatApplyMakes(t *testing.T) {
	gvk := schema.GroupVersionKind{Version: "v1", Kind: "Pod"}
	current := `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a","uid":"u","resourceVersion":"7","labels":{"a":"1","b":"2"},"finalizers":["x","y"],"creationTimestamp":"2024-01-02T03:04:05Z"},
"spec":{"containers":[{"name":"one","image":"i:1","env":[{"name":"A","value":"1"}]},{"name":"two","image":"i:2"}],"tolerations":[{"operator":"Exists"}]},
"status":{"phase":"Running","message":"m","conditions":[{"type":"Ready","status":"False","lastTransitionTime":"2024-01-02T03:04:05Z"},{"type":"Initialized","status":"True"}]}}`
	for _, tc := range []struct {
		kind  types.PatchType
		patch string
		quick bool
	}{
		{types.StrategicMergePatchType, `{"status":{"message":"n","conditions":[{"type":"Ready","status":"True"}]}}`, true},
		{types.StrategicMergePatchType, `{"status":{"conditions":[{"type":"Ready","$patch":"delete"}]}}`, true},
		{types.StrategicMergePatchType, `{"status":{"$patch":"replace","phase":"Failed"}}`, true},
		{types.StrategicMergePatchType, `{"spec":{"containers":[{"name":"one","image":"i:3"}],"$setElementOrder/containers":[{"name":"two"},{"name":"one"}]}}`, true},
		{types.StrategicMergePatchType, `{"spec":{"containers":[{"name":"one","env":null}],"tolerations":[]}}`, true},
		{types.StrategicMergePatchType, `{"metadata":{"labels":{"a":null,"c":"3"},"$deleteFromPrimitiveList/finalizers":["x"]},"status":null}`, true},
		{types.StrategicMergePatchType, `{"metadata":null}`, true},
		{types.StrategicMergePatchType, `{"$patch":"replace","metadata":{"name":"a"}}`, false},
		{types.StrategicMergePatchType, `{"kind":"Pod","metadata":{"labels":{"a":"2"}}}`, false},
		{types.StrategicMergePatchType, `{"status":{"mesage":"n"}}`, false},
		{types.StrategicMergePatchType, `{"statu":{}}`, false},
		{types.StrategicMergePatchType, `{"status":{"message":1}}`, false},
		{types.StrategicMergePatchType, `{"status":{"message":"a","message":"b"}}`, false},
		{types.StrategicMergePatchType, `{"spec":{"containers":[{"image":"nameless"}]}}`, false},
		{types.StrategicMergePatchType, `{}`, false},
		{types.MergePatchType, `{"metadata":{"labels":{"a":null,"c":"3"},"annotations":{"x":"y"}}}`, true},
		{types.MergePatchType, `{"spec":{"containers":[{"name":"three","image":"i"}]}}`, true},
		{types.MergePatchType, `{"spec":null,"status":{}}`, true},
		{types.MergePatchType, `{"status":{"conditions":null,"startTime":"2024-01-02T03:04:05Z"}}`, true},
		{types.MergePatchType, `{"status":{"startTime":"yesterday"}}`, false},
		{types.MergePatchType, `{"spec":[]}`, false},
		{types.JSONPatchType, `[{"op":"remove","path":"/status"}]`, false},
	} {
		p, err := Parse(tc.kind, []byte(tc.patch), true)
		if err != nil {
			t.Fatalf("%s: %v", tc.patch, err)
		}
		pod := decodePod(t, current)
		got, ok := p.ApplyTo(pod)
		if ok != tc.quick {
			t.Errorf("%s: applied by members: %v", tc.patch, ok)
		}
		if !reflect.DeepEqual(pod, decodePod(t, current)) {
			t.Errorf("%s changed the object that it was applied to", tc.patch)
		}
		if !ok {
			continue
		}
		doc, err := codec.EncodeJSON(pod, gvk)
		if err != nil {
			t.Fatal(err)
		}
		if doc, err = p.Apply(doc, &corev1.Pod{}); err != nil {
			t.Fatalf("%s: %v", tc.patch, err)
		}
		if want := decodePod(t, string(doc)); !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n%v\n%v", tc.patch, got, want)
		}
	}
}

func decodePod(t *testing.T, doc string) *corev1.Pod {
	t.Helper()
	gvk := schema.GroupVersionKind{Version: "v1", Kind: "Pod"}
	obj, _, err := codec.Decode([]byte(doc), codec.JSON, &gvk, nil, true)
	if err != nil {
		t.Fatalf("%s: %v", doc, err)
	}
	return obj.(*corev1.Pod)
}
