package crd

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"hyperkube/internal/object"
	"hyperkube/internal/server/openapi"
	"hyperkube/internal/server/openapi/openapitest"
)

// Custom resources are described as upstream's server describes them, in both versions of OpenAPI.
func TestDocumentsAreUpstreams(t *testing.T) {
	upstream, err := openapitest.Load()
	if err != nil {
		t.Fatal(err)
	}
	o := openapi.New(tableOf(t, openapitest.Definitions), nil, "v1.37.2")
	fetch := func(handler, path string) map[string]any {
		w := httptest.NewRecorder()
		o.Handlers()[handler].ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		var doc map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
			t.Fatalf("%s: %d %v", path, w.Code, err)
		}
		return doc
	}
	var all []string
	for path, want := range upstream.Custom.V3 {
		got := fetch("/openapi/v3/", "/openapi/v3/"+path)
		all = append(all, openapitest.Differences(path, want, got)...)
	}
	v2 := fetch("/openapi/v2", "/openapi/v2")
	for _, part := range []string{"paths", "definitions"} {
		want, _ := upstream.Custom.V2[part].(map[string]any)
		got, _ := v2[part].(map[string]any)
		if len(want) == 0 {
			t.Fatalf("no %s to compare with", part)
		}
		for name := range want {
			all = append(all, openapitest.Differences("v2 › "+name, want[name], got[name])...)
		}
	}
	for _, d := range all {
		t.Error(d)
	}
}

// tableOf makes the rows of definitions, as if their names were accepted.
func tableOf(t *testing.T, definitions []byte) *object.Table {
	t.Helper()
	var all []apiextensionsv1.CustomResourceDefinition
	if err := json.Unmarshal(definitions, &all); err != nil {
		t.Fatal(err)
	}
	table := object.NewTable()
	for i := range all {
		c := &all[i]
		c.Status.AcceptedNames = c.Spec.Names
		if c.Status.AcceptedNames.ListKind == "" {
			c.Status.AcceptedNames.ListKind = c.Spec.Names.Kind + "List"
		}
		k, _, err := row(c, nil, false, int64(i+1))
		if err != nil {
			t.Fatal(err)
		}
		table.Add(k)
	}
	return table
}
