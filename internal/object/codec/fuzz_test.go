package codec

import (
	"os"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"hyperkube/internal/object"
)

// FuzzObjects treats what a client or etcd sends as every kind in turn the way the server does: whatever it is, nothing panics.
func FuzzObjects(f *testing.F) {
	kinds := object.Builtin().All()
	data, err := os.ReadFile("../testdata/minimal.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for i, k := range kinds {
		f.Add(uint8(i), uint8(0), []byte(`{"metadata":{"name":"x"},"spec":{},"status":{}}`))
		if obj := k.Hub().New(); obj != nil {
			if proto, err := EncodeProto(obj, k.GroupVersionKind()); err == nil {
				f.Add(uint8(i), uint8(2), proto)
			}
		}
	}
	for _, doc := range documents(data) {
		if j, err := yaml.YAMLToJSON(doc); err == nil {
			f.Add(uint8(0), uint8(0), j)
			f.Add(uint8(0), uint8(1), doc)
		}
	}
	now := time.Unix(0, 0)
	f.Fuzz(func(t *testing.T, which, media uint8, data []byte) {
		k := kinds[int(which)%len(kinds)]
		if obj, err := DecodeStorage(k, data); err == nil {
			handle(k, obj, now)
		}
		gvk := k.GroupVersionKind()
		obj, got, err := Decode(data, []string{JSON, YAML, Protobuf}[int(media)%3], &gvk, nil, true)
		if obj == nil || err != nil {
			return
		}
		if named, _ := object.Builtin().Kind(got); named != nil {
			if o, ok := obj.(object.Object); ok {
				handle(named, o, now)
			}
		}
	})
}

// handle takes an object through all that a row does with it.
func handle(k *object.Kind, obj object.Object, now time.Time) {
	if got := obj.GetObjectKind().GroupVersionKind(); got.Kind != k.Hub().Kind || got.GroupVersion() != k.Hub().GroupVersion {
		return
	}
	old := obj.DeepCopyObject().(object.Object)
	strategies := []object.Strategy{k.Strategy}
	for i := range k.Subresources {
		strategies = append(strategies, k.Subresources[i].Strategy)
	}
	for _, s := range strategies {
		if s.Default != nil {
			s.Default(obj)
		}
		if s.PrepareCreate != nil {
			s.PrepareCreate(obj)
		}
		if s.Validate != nil {
			s.Validate(obj)
		}
		if s.PrepareUpdate != nil {
			s.PrepareUpdate(obj, old)
		}
		if s.ValidateUpdate != nil {
			s.ValidateUpdate(obj, old)
			s.ValidateUpdate(old, obj)
		}
		if s.Warnings != nil {
			s.Warnings(obj, nil)
			s.Warnings(obj, old)
		}
	}
	if k.Fields != nil {
		k.Fields(obj)
	}
	if k.Cells != nil {
		k.Cells(obj, now)
		k.Cells(old, now)
	}
	for i := range k.Versions {
		if v := &k.Versions[i]; v.FromHub != nil {
			if in, err := v.FromHub(obj); err == nil {
				_, _ = v.ToHub(in)
			}
		}
	}
}

func documents(data []byte) [][]byte {
	var out [][]byte
	start := 0
	for i := 0; i+4 <= len(data); i++ {
		if string(data[i:i+4]) == "---\n" {
			out = append(out, data[start:i])
			start = i + 4
		}
	}
	return append(out, data[start:])
}
