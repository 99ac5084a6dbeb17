package openapi

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"

	openapi_v2 "github.com/google/gnostic-models/openapiv2"
	openapi_v3 "github.com/google/gnostic-models/openapiv3"
	"google.golang.org/protobuf/proto"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"hyperkube/internal/object"
)

// protobuf names one protobuf form. Clients ask for it by a name with an @ in it, which is not a valid media type: what is
// sent goes by one that can be parsed, and that clients may ask for as well.
type protobuf struct{ asked, sent string }

var (
	proto2 = protobuf{"application/com.github.proto-openapi.spec.v2@v1.0+protobuf", "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"}
	proto3 = protobuf{"application/com.github.proto-openapi.spec.v3@v1.0+protobuf", "application/com.github.proto-openapi.spec.v3.v1.0+protobuf"}
)

// wanted says whether the client prefers the form: it names it before JSON.
func (p protobuf) wanted(accept string) bool {
	for _, name := range []string{p.asked, p.sent} {
		if before, _, ok := strings.Cut(accept, name); ok {
			return !strings.Contains(before, mediaJSON)
		}
	}
	return false
}

// OpenAPI serves the documents of a table of kinds. It is safe for concurrent use.
type OpenAPI struct {
	table   *object.Table
	version string // of the server, for the documents' info

	mu         sync.Mutex
	generation int64
	docs       map[string]*document // by path: "v2", "api/v1", "apis/apps/v1"
	lasting    map[string]bool      // paths of documents that no custom resource is in: the table's changes leave them alone
}

// document is one rendered document; the protobuf form is made when it is first asked for.
type document struct {
	json []byte
	etag string
	once sync.Once
	pb   []byte
	err  error
}

// New makes the documents of what t serves.
func New(t *object.Table, version string) *OpenAPI {
	return &OpenAPI{table: t, version: version, docs: map[string]*document{}, lasting: map[string]bool{}}
}

// Handlers are the paths that it serves.
func (o *OpenAPI) Handlers() map[string]http.Handler {
	return map[string]http.Handler{
		"/openapi/v2":  http.HandlerFunc(o.serveV2),
		"/openapi/v3":  http.HandlerFunc(o.serveIndex),
		"/openapi/v3/": http.HandlerFunc(o.serveV3),
	}
}

// get gives a document, made anew when the table has changed since.
func (o *OpenAPI) get(path string, lasting bool, build func() (m, error)) (*document, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if g := o.table.Generation(); g != o.generation {
		o.generation = g
		maps.DeleteFunc(o.docs, func(path string, _ *document) bool { return !o.lasting[path] })
	}
	if d := o.docs[path]; d != nil {
		return d, nil
	}
	content, err := build()
	if err != nil {
		return nil, err
	}
	data, err := json.Marshal(content)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	d := &document{json: data, etag: strings.ToUpper(hex.EncodeToString(sum[:]))}
	o.docs[path] = d
	o.lasting[path] = lasting
	return d, nil
}

// versions are the groups and versions of rows, in order.
func versions(rows []*object.Kind) []schema.GroupVersion {
	seen := map[schema.GroupVersion]bool{}
	for _, k := range rows {
		for i := range k.Versions {
			if v := &k.Versions[i]; v.Served() {
				seen[v.GroupVersion] = true
			}
		}
	}
	var all []schema.GroupVersion
	for gv := range seen {
		all = append(all, gv)
	}
	slices.SortFunc(all, func(a, b schema.GroupVersion) int { return cmp.Compare(root(a), root(b)) })
	return all
}

func (o *OpenAPI) info() m { return m{"title": "Kubernetes", "version": o.version} }

func (o *OpenAPI) v3(gv schema.GroupVersion) func() (m, error) {
	return func() (m, error) {
		s, err := load()
		if err != nil {
			return nil, err
		}
		rows := o.table.All() // once: between two looks the table may change
		ops := operations(rows, gv)
		all, err := withCustom(s.V3, rows, []schema.GroupVersion{gv}, false)
		if err != nil {
			return nil, err
		}
		models, err := reachable(all, models(ops))
		if err != nil {
			return nil, err
		}
		return m{
			"openapi": "3.0.0", "info": o.info(), "paths": paths3(gv, ops),
			"components": m{
				"schemas":         models,
				"securitySchemes": m{"BearerToken": m{"type": "apiKey", "name": "authorization", "in": "header", "description": "Bearer Token authentication"}},
			},
		}, nil
	}
}

func (o *OpenAPI) v2() (m, error) {
	s, err := load()
	if err != nil {
		return nil, err
	}
	rows := o.table.All() // once: between two looks the table may change
	paths, all := m{}, []string{}
	for _, gv := range versions(rows) {
		ops := operations(rows, gv)
		paths2(gv, ops, paths)
		all = append(all, models(ops)...)
	}
	known, err := withCustom(s.V2, rows, versions(rows), true)
	if err != nil {
		return nil, err
	}
	definitions, err := reachable(known, all)
	if err != nil {
		return nil, err
	}
	return m{
		"swagger": "2.0", "info": o.info(), "paths": paths, "definitions": definitions,
		"securityDefinitions": m{"BearerToken": m{"type": "apiKey", "name": "authorization", "in": "header", "description": "Bearer Token authentication"}},
		"security":            []m{{"BearerToken": []string{}}},
	}, nil
}

// models are those that operations name.
func models(ops []operation) []string {
	all := []string{statusModel, listModel, watchModel}
	for _, op := range ops {
		for _, name := range []string{op.body, op.answer} {
			if name != "" && !slices.Contains(all, name) {
				all = append(all, name)
			}
		}
	}
	return all
}

func (o *OpenAPI) serveIndex(w http.ResponseWriter, r *http.Request) {
	paths := m{}
	for _, gv := range versions(o.table.All()) {
		path := strings.TrimPrefix(root(gv), "/")
		d, err := o.get(path, object.IsBuiltin(gv), o.v3(gv))
		if err != nil {
			fail(w, err)
			return
		}
		paths[path] = m{"serverRelativeURL": "/openapi/v3/" + path + "?hash=" + d.etag}
	}
	data, err := json.Marshal(m{"paths": paths})
	if err != nil {
		fail(w, err)
		return
	}
	sum := sha256.Sum256(data)
	write(w, r, mediaJSON, strings.ToUpper(hex.EncodeToString(sum[:])), data)
}

func (o *OpenAPI) serveV3(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/openapi/v3/")
	for _, gv := range versions(o.table.All()) {
		if strings.TrimPrefix(root(gv), "/") != path {
			continue
		}
		d, err := o.get(path, object.IsBuiltin(gv), o.v3(gv))
		if err != nil {
			fail(w, err)
			return
		}
		// A client that names the hash asks for this very content: it never changes.
		if hash := r.URL.Query().Get("hash"); hash != "" {
			if hash != d.etag {
				http.Redirect(w, r, "/openapi/v3/"+path+"?hash="+d.etag, http.StatusMovedPermanently)
				return
			}
			w.Header().Set("Cache-Control", "public, immutable")
		}
		d.serve(w, r, proto3, func(data []byte) ([]byte, error) {
			p, err := openapi_v3.ParseDocument(data)
			if err != nil {
				return nil, err
			}
			return proto.Marshal(p)
		})
		return
	}
	http.NotFound(w, r)
}

func (o *OpenAPI) serveV2(w http.ResponseWriter, r *http.Request) {
	d, err := o.get("v2", false, o.v2)
	if err != nil {
		fail(w, err)
		return
	}
	d.serve(w, r, proto2, func(data []byte) ([]byte, error) {
		p, err := openapi_v2.ParseDocument(data)
		if err != nil {
			return nil, err
		}
		return proto.Marshal(p)
	})
}

// serve answers in the form that the client prefers: protobuf or JSON.
func (d *document) serve(w http.ResponseWriter, r *http.Request, form protobuf, convert func([]byte) ([]byte, error)) {
	if !form.wanted(r.Header.Get("Accept")) {
		write(w, r, mediaJSON, d.etag, d.json)
		return
	}
	d.once.Do(func() { d.pb, d.err = convert(d.json) })
	if d.err != nil {
		fail(w, d.err)
		return
	}
	write(w, r, form.sent, d.etag+"-pb", d.pb)
}

func write(w http.ResponseWriter, r *http.Request, mediaType, etag string, data []byte) {
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Vary", "Accept")
	w.Header().Set("Etag", `"`+etag+`"`)
	if slices.Contains(strings.Split(r.Header.Get("If-None-Match"), ","), `"`+etag+`"`) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	// The client is gone when this fails; there is nobody to tell.
	_, _ = w.Write(data)
}

func fail(w http.ResponseWriter, err error) {
	slog.Default().Error("an OpenAPI document could not be made", "component", "openapi", "error", err)
	http.Error(w, fmt.Sprintf("OpenAPI: %v", err), http.StatusInternalServerError)
}
