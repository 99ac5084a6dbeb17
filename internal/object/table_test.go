package object

import (
	"encoding/json"
	"os"
	"sort"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// discovered is a line of testdata/discovery.json: what upstream serves by default.
type discovered struct {
	Group, Version, Resource, Kind, Scope, Singular string
	ShortNames, Categories, Verbs                   []string
	Subresources                                    []discoveredSub
}

type discoveredSub struct {
	Name, Group, Version, Kind string
	Verbs                      []string
}

// describe says of a row's version what discovery says.
func describe(k *Kind, v *Version) discovered {
	d := discovered{
		Group: v.Group, Version: v.Version, Resource: k.Resource, Kind: v.Kind, Scope: "Cluster",
		Singular: k.Singular, ShortNames: k.ShortNames, Categories: k.Categories, Verbs: k.Verbs,
	}
	if k.Scope == Namespaced {
		d.Scope = "Namespaced"
	}
	if d.Verbs == nil {
		d.Verbs = AllVerbs
	}
	for _, s := range k.Subresources {
		ds := discoveredSub{Name: s.Name, Group: s.GroupVersionKind.Group, Version: s.GroupVersionKind.Version, Kind: s.GroupVersionKind.Kind, Verbs: s.Verbs}
		if ds.Kind == "" {
			ds.Kind = v.Kind
		}
		d.Subresources = append(d.Subresources, ds)
	}
	return d
}

func TestBuiltinIsWhatUpstreamServesByDefault(t *testing.T) {
	data, err := os.ReadFile("testdata/discovery.json")
	if err != nil {
		t.Fatal(err)
	}
	var want []discovered
	if err := json.Unmarshal(data, &want); err != nil {
		t.Fatal(err)
	}
	var got []discovered
	for _, k := range Builtin().All() {
		for i := range k.Versions {
			got = append(got, describe(k, &k.Versions[i]))
		}
	}
	key := func(d discovered) string { return d.Group + "/" + d.Version + "/" + d.Resource }
	for _, l := range [][]discovered{got, want} {
		sort.Slice(l, func(i, j int) bool { return key(l[i]) < key(l[j]) })
		for i := range l {
			sort.Slice(l[i].Subresources, func(a, b int) bool { return l[i].Subresources[a].Name < l[i].Subresources[b].Name })
		}
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("table and upstream's discovery differ (-upstream +ours):\n%s", diff)
	}
}

func TestRowsAreComplete(t *testing.T) {
	prefixes := map[string]string{}
	for _, k := range Builtin().All() {
		gr := k.GroupResource().String()
		for i := range k.Versions {
			v := &k.Versions[i]
			gvks, _, err := Scheme().ObjectKinds(v.New())
			if err != nil || gvks[0] != v.GroupVersion.WithKind(v.Kind) {
				t.Errorf("%s: New of %s makes %v (%v)", gr, v.GroupVersion, gvks, err)
			}
			if i > 0 && (v.FromHub == nil || v.ToHub == nil) {
				t.Errorf("%s: no conversion for %s", gr, v.GroupVersion)
			}
		}
		if k.Virtual {
			continue
		}
		if other, taken := prefixes[k.StoragePrefix]; taken || k.StoragePrefix == "" {
			t.Errorf("%s: storage prefix %q, as %s", gr, k.StoragePrefix, other)
		}
		prefixes[k.StoragePrefix] = gr
	}
}

func TestTableFindsRows(t *testing.T) {
	table := Builtin()
	events, v := table.Resource(schema.GroupVersionResource{Group: "events.k8s.io", Version: "v1", Resource: "events"})
	if events == nil || v == nil || v.Group != "events.k8s.io" || events.Hub().Group != "" {
		t.Errorf("events.k8s.io/v1 events: %v %v", events, v)
	}
	if k, v := table.Resource(schema.GroupVersionResource{Group: "apps", Version: "v1beta1", Resource: "deployments"}); k == nil || v != nil {
		t.Errorf("a version that is not served: %v %v", k, v)
	}
	table.Remove(events)
	if k, _ := table.Kind(schema.GroupVersionKind{Version: "v1", Kind: "Event"}); k != nil {
		t.Error("a removed row is still found")
	}
}
