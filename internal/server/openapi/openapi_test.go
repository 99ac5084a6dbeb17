package openapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	openapi_v2 "github.com/google/gnostic-models/openapiv2"
	"google.golang.org/protobuf/proto"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/kube-openapi/pkg/spec3"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"hyperkube/internal/object"
)

func get(t *testing.T, o *OpenAPI, path string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	mux := http.NewServeMux()
	for p, h := range o.Handlers() {
		mux.Handle(p, h)
	}
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	return w
}

func TestEveryDocumentParses(t *testing.T) {
	o := New(object.Builtin(), nil, "v1.37.2")
	var index struct {
		Paths map[string]struct{ ServerRelativeURL string }
	}
	if err := json.Unmarshal(get(t, o, "/openapi/v3").Body.Bytes(), &index); err != nil {
		t.Fatal(err)
	}
	if len(index.Paths) < 20 {
		t.Fatalf("only %d documents", len(index.Paths))
	}
	for path, p := range index.Paths {
		w := get(t, o, p.ServerRelativeURL)
		var doc spec3.OpenAPI
		if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil || w.Code != 200 {
			t.Errorf("%s: %d %v", path, w.Code, err)
			continue
		}
		if models := len(doc.Components.Schemas); len(doc.Paths.Paths) == 0 || (models == 0) != strings.Contains(path, "openid") {
			t.Errorf("%s is empty", path)
		}
	}
}

func TestDeploymentPatchSaysFieldValidation(t *testing.T) {
	o := New(object.Builtin(), nil, "v1.37.2")
	var doc spec3.OpenAPI
	if err := json.Unmarshal(get(t, o, "/openapi/v3/apis/apps/v1").Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	patch := doc.Paths.Paths["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"].Patch
	found := map[string]bool{}
	for _, p := range patch.Parameters {
		found[p.Name] = true
	}
	if !found["fieldValidation"] || !found["dryRun"] || !found["fieldManager"] || !found["force"] {
		t.Errorf("parameters of patch: %v", found)
	}
	if patch.OperationId != "patchAppsV1NamespacedDeployment" {
		t.Error(patch.OperationId)
	}
	spec := doc.Components.Schemas["io.k8s.api.apps.v1.DeploymentSpec"]
	if spec == nil || spec.Properties["replicas"].Type[0] != "integer" || len(spec.Required) != 2 {
		t.Errorf("schema of a deployment's spec: %+v", spec)
	}
}

func TestV2InProtobufAndETags(t *testing.T) {
	o := New(object.Builtin(), nil, "v1.37.2")
	for _, asked := range []string{proto2.asked, proto2.sent, proto2.asked + ", application/json"} {
		w := get(t, o, "/openapi/v2", "Accept", asked)
		var doc openapi_v2.Document
		if err := proto.Unmarshal(w.Body.Bytes(), &doc); err != nil || doc.Swagger != "2.0" {
			t.Fatal(doc.Swagger, err)
		}
		// Clients read the type of what they get, and the one that they ask for is not well-formed.
		if kind, _, err := mime.ParseMediaType(w.Header().Get("Content-Type")); err != nil || kind != proto2.sent {
			t.Error(kind, err)
		}
	}
	w := get(t, o, "/openapi/v2")
	if !strings.HasPrefix(w.Body.String(), "{") {
		t.Fatalf("without Accept: %.40q", w.Body)
	}
	if z := get(t, o, "/openapi/v2", "Accept-Encoding", "gzip"); z.Header().Get("Content-Encoding") != "gzip" || z.Body.Len() > w.Body.Len()/5 {
		t.Errorf("compressed: %d of %d bytes, %v", z.Body.Len(), w.Body.Len(), z.Header())
	}
	if w = get(t, o, "/openapi/v2", "If-None-Match", w.Header().Get("Etag")); w.Code != http.StatusNotModified {
		t.Error(w.Code)
	}
	if w = get(t, o, "/openapi/v3/apis/none/v1"); w.Code != http.StatusNotFound {
		t.Error(w.Code)
	}
}

// A definition that comes or goes while a document is made must not break it.
func TestDocumentsOfAChangingTable(t *testing.T) {
	gv := schema.GroupVersion{Group: "example.test", Version: "v1"}
	table := object.NewTable()
	for i := range 100 {
		table.Add(thing(gv, fmt.Sprint("Lasting", i)))
	}
	o := New(table, nil, "v1.37.2")
	get(t, o, "/openapi/v2") // unpacks the schemas, which takes longer than the rest of this
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go func() {
		for i := 0; ctx.Err() == nil; i++ {
			k := thing(gv, fmt.Sprint("Passing", i%10))
			table.Add(k)
			table.Remove(k)
		}
	}()
	for range 5 {
		for _, path := range []string{"/openapi/v2", "/openapi/v3", "/openapi/v3/apis/example.test/v1"} {
			if w := get(t, o, path); w.Code != http.StatusOK {
				t.Fatal(path, w.Code, w.Body)
			}
		}
	}
}

// A new kind changes the hashes of its own group alone, and whoever has the others need not read them again.
func TestHashesFollowTheRows(t *testing.T) {
	one, two := schema.GroupVersion{Group: "one.test", Version: "v1"}, schema.GroupVersion{Group: "two.test", Version: "v1"}
	table := object.NewTable()
	table.Add(thing(one, "First"))
	table.Add(thing(two, "Second"))
	o := New(table, nil, "v1.37.2")
	hashes := func() (a, b string) {
		var index struct {
			Paths map[string]struct{ ServerRelativeURL string }
		}
		if err := json.Unmarshal(get(t, o, "/openapi/v3").Body.Bytes(), &index); err != nil {
			t.Fatal(err)
		}
		return index.Paths["apis/one.test/v1"].ServerRelativeURL, index.Paths["apis/two.test/v1"].ServerRelativeURL
	}
	a, b := hashes()
	built := get(t, o, a)
	table.Add(thing(two, "Third"))
	a2, b2 := hashes()
	if a2 != a || b2 == b {
		t.Fatalf("before %s and %s, after %s and %s", a, b, a2, b2)
	}
	if again := get(t, o, a, "If-None-Match", built.Header().Get("Etag")); again.Code != http.StatusNotModified {
		t.Fatal(again.Code)
	}
	if res := get(t, o, b); res.Code != http.StatusMovedPermanently || !strings.HasSuffix(res.Header().Get("Location"), b2) {
		t.Fatal(res.Code, res.Header())
	}
}

// The shelf holds no more than it may, and forgets first what nobody asked for lately.
func TestShelf(t *testing.T) {
	s := shelf{most: 10, kept: map[string]*rendered{}}
	made := 0
	get := func(name, tag string, size int) {
		if _, err := s.get(name, tag, func() (any, int, error) { made++; return name, size, nil }); err != nil {
			t.Fatal(err)
		}
	}
	get("a", "1", 4)
	get("b", "1", 4)
	get("a", "1", 4)
	get("c", "1", 4) // b goes
	if get("a", "1", 4); made != 3 || s.size != 8 {
		t.Fatal(made, s.size)
	}
	if get("a", "2", 4); made != 4 {
		t.Fatal("what is out of date was given out")
	}
	if get("b", "1", 4); made != 5 || s.size != 8 {
		t.Fatal(made, s.size)
	}
	if get("large", "1", 20); s.size > 10 {
		t.Fatal(s.size)
	}
	if _, err := s.get("bad", "1", func() (any, int, error) { return nil, 0, errors.New("no") }); err == nil || s.kept["bad"] != nil {
		t.Fatal("a failure was kept")
	}
}

func thing(gv schema.GroupVersion, kind string) *object.Kind {
	custom := &object.Custom{Schema: func(bool) (*spec.Schema, error) { return &spec.Schema{}, nil }, Fingerprint: func() string { return kind }}
	return &object.Kind{Resource: strings.ToLower(kind), Versions: []object.Version{{GroupVersion: gv, Kind: kind, Custom: custom}}}
}
