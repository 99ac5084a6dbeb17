package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/object"
	"hyperkube/internal/server"
	"hyperkube/internal/server/openapi"
	"hyperkube/internal/server/servertest"
)

// large is a definition with a schema as operators have them: some 30 KB of fields and their descriptions.
func large(i int) *apiextensionsv1.CustomResourceDefinition {
	text := strings.Repeat("What this field is for, and what happens without it. ", 3)
	leaf := func(t string) apiextensionsv1.JSONSchemaProps {
		return apiextensionsv1.JSONSchemaProps{Type: t, Description: text}
	}
	spec := apiextensionsv1.JSONSchemaProps{Type: "object", Description: text, Properties: map[string]apiextensionsv1.JSONSchemaProps{}}
	for g := range 12 {
		group := apiextensionsv1.JSONSchemaProps{Type: "object", Description: text, Properties: map[string]apiextensionsv1.JSONSchemaProps{}}
		for f := range 12 {
			group.Properties[fmt.Sprintf("field%d", f)] = leaf([]string{"string", "integer", "boolean"}[f%3])
		}
		spec.Properties[fmt.Sprintf("group%d", g)] = group
	}
	kind := fmt.Sprintf("Many%d", i)
	plural := strings.ToLower(kind) + "s"
	c := &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s.g%d.example.com", plural, i%50)},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: fmt.Sprintf("g%d.example.com", i%50), Scope: apiextensionsv1.NamespaceScoped,
			Names: apiextensionsv1.CustomResourceDefinitionNames{Plural: plural, Singular: strings.ToLower(kind), Kind: kind, ListKind: kind + "List"},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{Name: "v1", Served: true, Storage: true,
				Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{Type: "object",
					Properties: map[string]apiextensionsv1.JSONSchemaProps{"spec": spec, "status": leaf("object")}}},
				Subresources: &apiextensionsv1.CustomResourceSubresources{Status: &apiextensionsv1.CustomResourceSubresourceStatus{}}}},
		},
	}
	return c
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// Many definitions cost little, and a change of one of them does not make the documents of all anew. HYPERKUBE_DEFINITIONS sets
// how many there are.
func TestManyDefinitions(t *testing.T) {
	const mostEach = 1 << 20
	n := 40
	if s := os.Getenv("HYPERKUBE_DEFINITIONS"); s != "" {
		n, _ = strconv.Atoi(s)
	}
	table := object.Builtin()
	docs := openapi.New(table, nil, "v1.37.0").Handlers()
	api := servertest.Start(t, func(cfg *server.Config) {
		cfg.Table = table
		cfg.Handlers = docs
	})
	w := newWeb(t, api.REST)
	get := func(path string) time.Duration {
		start := time.Now()
		if res, body := w.do("GET", path, ""); res.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d %.200s", path, res.StatusCode, body)
		}
		return time.Since(start)
	}
	get("/openapi/v3")
	get("/openapi/v2")
	before := heap()
	create := func(i int) time.Duration {
		data, err := json.Marshal(large(i))
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		establish(t, api, w, `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition",`+string(data[1:]))
		return time.Since(start)
	}
	start := time.Now()
	for i := range n {
		create(i)
	}
	made := time.Since(start)
	served := heap()
	index, v2 := get("/openapi/v3"), get("/openapi/v2")
	documented := heap()
	for i := range 50 {
		get(fmt.Sprintf("/openapi/v3/apis/g%d.example.com/v1", i%min(n, 50)))
	}
	read := heap()
	one := create(n)
	again, v2Again := get("/openapi/v3"), get("/openapi/v2")
	each := func(now uint64) uint64 { return (max(now, before) - before) / uint64(n) }
	t.Logf("%d definitions: made in %v; each holds %d B when served, %d B when documented, %d B when read; index %v, v2 %v; one more: %v, index %v, v2 %v",
		n, made, each(served), each(documented), each(read), index, v2, one, again, v2Again)
	if each(read) > mostEach {
		t.Errorf("each definition holds %d B, more than %d", each(read), mostEach)
	}
	runtime.KeepAlive(api)
}
