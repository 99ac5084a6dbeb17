package openapi

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"hyperkube/internal/object"
	"hyperkube/internal/server/openapi/openapitest"
)

// Every document is in all its fields what upstream's server of the same release serves.
func TestDocumentsAreUpstreams(t *testing.T) {
	upstream, err := openapitest.Load()
	if err != nil {
		t.Fatal(err)
	}
	o := New(object.Builtin(), nil, "v1.37.2")
	report := func(name string, want map[string]any, path string) {
		var got map[string]any
		if err := json.Unmarshal(get(t, o, path).Body.Bytes(), &got); err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		all := openapitest.Differences(name, want, got)
		for i, d := range all {
			if i == 20 {
				t.Errorf("%s: and %d more", name, len(all)-i)
				break
			}
			t.Error(d)
		}
	}
	report("v2", upstream.Builtin.V2, "/openapi/v2")
	var index struct {
		Paths map[string]struct{ ServerRelativeURL string }
	}
	if err := json.Unmarshal(get(t, o, "/openapi/v3").Body.Bytes(), &index); err != nil {
		t.Fatal(err)
	}
	if got, want := slices.Sorted(maps.Keys(index.Paths)), slices.Sorted(maps.Keys(upstream.Builtin.V3)); !slices.Equal(got, want) {
		t.Errorf("documents: %v\nupstream has %v", got, want)
	}
	for path, want := range upstream.Builtin.V3 {
		report(path, want, index.Paths[path].ServerRelativeURL)
	}
}
