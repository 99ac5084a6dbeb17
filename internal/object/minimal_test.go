package object

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write the golden files anew")

var testTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// minimal reads testdata/minimal.yaml: one small object of every stored kind.
func minimal(t *testing.T) []Object {
	t.Helper()
	data, err := os.ReadFile("testdata/minimal.yaml")
	if err != nil {
		t.Fatal(err)
	}
	table := Builtin()
	var all []Object
	for _, text := range strings.Split(string(data), "\n---\n") {
		var meta metav1.TypeMeta
		if err := yaml.Unmarshal([]byte(text), &meta); err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		k, v := table.Kind(schema.FromAPIVersionAndKind(meta.APIVersion, meta.Kind))
		if k == nil || v == nil {
			t.Fatalf("no row for %s", text)
		}
		obj, ok := v.New().(Object)
		if !ok {
			t.Fatalf("no metadata in %s", text)
		}
		if err := yaml.UnmarshalStrict([]byte(text), obj); err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		all = append(all, obj)
	}
	return all
}

// created takes an object through what the server does on create.
func created(k *Kind, obj Object) {
	if k.Default != nil {
		k.Default(obj)
	}
	obj.SetUID("00000000-0000-0000-0000-000000000001")
	obj.SetCreationTimestamp(metav1.NewTime(testTime))
	if k.PrepareCreate != nil {
		k.PrepareCreate(obj)
	}
}

func rowOf(t *testing.T, table *Table, obj Object) *Kind {
	t.Helper()
	k, _ := table.Kind(obj.GetObjectKind().GroupVersionKind())
	if k == nil {
		t.Fatalf("no row for %T", obj)
	}
	return k
}

func TestDefaultsOfEveryKind(t *testing.T) {
	table := Builtin()
	var out bytes.Buffer
	for _, obj := range minimal(t) {
		created(rowOf(t, table, obj), obj)
		data, err := json.Marshal(obj)
		if err != nil {
			t.Fatal(err)
		}
		text, err := yaml.JSONToYAML(data)
		if err != nil {
			t.Fatal(err)
		}
		out.WriteString("---\n")
		out.Write(text)
	}
	const golden = "testdata/minimal.golden.yaml"
	if *update {
		if err := os.WriteFile(golden, out.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, out.Bytes()) {
		t.Errorf("%s differs; look at the change with -update and git diff", golden)
	}
}

// TestEveryKindLives takes one object of each kind through create, an update and status updates.
func TestEveryKindLives(t *testing.T) {
	table := Builtin()
	seen := map[*Kind]bool{}
	for _, obj := range minimal(t) {
		k := rowOf(t, table, obj)
		seen[k] = true
		t.Run(k.GroupResource().String(), func(t *testing.T) {
			created(k, obj)
			if errs := k.Validate(obj); len(errs) > 0 {
				t.Fatalf("create: %v", errs.ToAggregate())
			}
			obj.SetResourceVersion("7")
			old := copyOf(t, obj)
			if k.Default != nil {
				k.Default(obj)
			}
			if !apiequality.Semantic.DeepEqual(obj, old) {
				t.Errorf("defaulting twice changes the object:\n%v\n%v", old, obj)
			}
			if k.PrepareUpdate != nil {
				k.PrepareUpdate(obj, old)
			}
			if !apiequality.Semantic.DeepEqual(obj, old) {
				t.Errorf("an update that changes nothing changes the object:\n%v\n%v", old, obj)
			}
			if errs := k.ValidateUpdate(obj, old); len(errs) > 0 {
				t.Errorf("update: %v", errs.ToAggregate())
			}
			for i := range k.Subresources {
				sub := &k.Subresources[i]
				if sub.PrepareUpdate == nil {
					continue
				}
				next := copyOf(t, obj)
				sub.PrepareUpdate(next, old)
				if next.GetGeneration() != old.GetGeneration() {
					t.Errorf("%s counts a generation", sub.Name)
				}
				if errs := sub.ValidateUpdate(next, old); len(errs) > 0 {
					t.Errorf("update of %s: %v", sub.Name, errs.ToAggregate())
				}
			}
			wanted := len(k.Columns)
			if k.Resource == "ipaddresses" {
				wanted++ // upstream gives the age without a column
			}
			if n := len(k.Cells(obj, testTime.Add(time.Hour))); n != wanted {
				t.Errorf("%d cells for %d columns", n, len(k.Columns))
			}
			_, fields := Selectable(k, obj)
			for _, name := range k.FieldNames {
				if _, ok := fields[name]; !ok {
					t.Errorf("selectable field %s has no value", name)
				}
			}
		})
	}
	for _, k := range table.All() {
		if !k.Virtual && !seen[k] {
			t.Errorf("%s is not in testdata/minimal.yaml", k.GroupResource())
		}
	}
}

func copyOf(t *testing.T, obj Object) Object {
	t.Helper()
	c, ok := obj.DeepCopyObject().(Object)
	if !ok {
		t.Fatalf("copy of %T", obj)
	}
	return c
}
