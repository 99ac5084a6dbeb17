package server_test

import (
	"encoding/json"
	"os"
	"slices"
	"testing"

	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/server/servertest"
)

// known is a line of the list of what upstream serves by default.
type known struct {
	Group, Version, Resource, Kind, Scope, Singular string
	ShortNames, Categories, Verbs                   []string
	Subresources                                    []struct {
		Name, Kind, Group, Version string
		Verbs                      []string
	}
}

// TestDiscovery holds both forms of discovery against everything that upstream serves by default. Nothing may be missing and nothing
// be there besides.
func TestDiscovery(t *testing.T) {
	data, err := os.ReadFile("../object/testdata/discovery.json")
	if err != nil {
		t.Fatal(err)
	}
	var want []known
	if err := json.Unmarshal(data, &want); err != nil {
		t.Fatal(err)
	}
	w := newWeb(t, servertest.Start(t, nil).REST)
	got := aggregated(t, w)
	for _, k := range want {
		id := k.Group + "/" + k.Version + "/" + k.Resource
		r, ok := got[id]
		delete(got, id)
		if !ok {
			t.Errorf("%s is not served", id)
			continue
		}
		if r.ResponseKind.Kind != k.Kind || string(r.Scope) != k.Scope || r.SingularResource != k.Singular ||
			!slices.Equal(r.ShortNames, k.ShortNames) || !slices.Equal(r.Categories, k.Categories) || !slices.Equal(r.Verbs, k.Verbs) || len(r.Subresources) != len(k.Subresources) {
			t.Errorf("%s: %+v\nwant %+v", id, r, k)
			continue
		}
		for i, s := range k.Subresources {
			have := r.Subresources[i]
			if have.Subresource != s.Name || have.ResponseKind.Kind != s.Kind || !slices.Equal(have.Verbs, s.Verbs) {
				t.Errorf("%s/%s: %+v\nwant %+v", id, s.Name, have, s)
			}
		}
		legacy(t, w, &k)
	}
	for id := range got {
		t.Errorf("%s is served, but not by upstream", id)
	}
}

func aggregated(t *testing.T, w *web) map[string]apidiscoveryv2.APIResourceDiscovery {
	t.Helper()
	out := map[string]apidiscoveryv2.APIResourceDiscovery{}
	for _, path := range []string{"/api", "/apis"} {
		_, body := w.do("GET", path, "", "Accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")
		var l apidiscoveryv2.APIGroupDiscoveryList
		if err := json.Unmarshal(body, &l); err != nil {
			t.Fatal(err)
		}
		for _, g := range l.Items {
			for _, v := range g.Versions {
				for _, r := range v.Resources {
					out[g.Name+"/"+v.Version+"/"+r.Resource] = r
				}
			}
		}
	}
	return out
}

// legacy looks a resource up in the list of its version.
func legacy(t *testing.T, w *web, k *known) {
	t.Helper()
	path := "/apis/" + k.Group + "/" + k.Version
	if k.Group == "" {
		path = "/api/" + k.Version
	}
	_, body := w.do("GET", path, "")
	var l metav1.APIResourceList
	if err := json.Unmarshal(body, &l); err != nil {
		t.Fatal(err)
	}
	names := []string{k.Resource}
	for _, s := range k.Subresources {
		names = append(names, k.Resource+"/"+s.Name)
	}
	for _, name := range names {
		if !slices.ContainsFunc(l.APIResources, func(r metav1.APIResource) bool { return r.Name == name }) {
			t.Errorf("%s does not list %s", path, name)
		}
	}
}
