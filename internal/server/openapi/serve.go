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
	json packed
	etag string
	once sync.Once
	pb   packed
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
	p, err := pack(data)
	if err != nil {
		return nil, err
	}
	d := &document{json: p, etag: strings.ToUpper(hex.EncodeToString(sum[:]))}
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

// info names major and minor version only: an update of the release changes no document.
func (o *OpenAPI) info() m {
	short := strings.TrimPrefix(o.version, "v")
	if parts := strings.SplitN(short, ".", 3); len(parts) == 3 {
		short = parts[0] + "." + parts[1]
	}
	return m{"title": "Kubernetes", "version": short}
}

func (o *OpenAPI) security() m {
	return m{"BearerToken": m{"type": "apiKey", "name": "authorization", "in": "header", "description": "Bearer Token authentication"}}
}

// document3 makes a document of operations; gv is empty outside of a group.
func (o *OpenAPI) document3(gv schema.GroupVersion, ops []operation, all map[string]json.RawMessage) (m, error) {
	models, err := reachable(all, modelsOf(ops))
	if err != nil {
		return nil, err
	}
	if err := addShared(models, gv); err != nil {
		return nil, err
	}
	components, info := m{}, m{"title": "Kubernetes CRD Swagger", "version": "v0.1.0"}
	if gv.Empty() || object.IsBuiltin(gv) {
		components["securitySchemes"], info = o.security(), o.info()
	}
	if len(models) > 0 {
		components["schemas"] = models
	}
	return m{"openapi": "3.0.0", "info": info, "paths": paths3(ops), "components": components}, nil
}

func (o *OpenAPI) v3(gv schema.GroupVersion) func() (m, error) {
	return func() (m, error) {
		s, err := load()
		if err != nil {
			return nil, err
		}
		rows := o.table.All() // once: between two looks the table may change
		all, err := withCustom(s.V3, rows, []schema.GroupVersion{gv}, false)
		if err != nil {
			return nil, err
		}
		return o.document3(gv, operations(rows, gv), all)
	}
}

func (o *OpenAPI) v3Root(op operation) func() (m, error) {
	return func() (m, error) {
		s, err := load()
		if err != nil {
			return nil, err
		}
		return o.document3(schema.GroupVersion{}, []operation{op}, s.V3)
	}
}

func (o *OpenAPI) v2() (m, error) {
	s, err := load()
	if err != nil {
		return nil, err
	}
	rows := o.table.All() // once: between two looks the table may change
	r := &renderer2{paths: m{}, parameters: m{}, known: map[parameter]any{}}
	var all []string
	for _, gv := range versions(rows) {
		ops := operations(rows, gv)
		r.add(ops)
		all = append(all, modelsOf(ops)...)
	}
	for _, op := range roots(rows) {
		r.add([]operation{op})
		all = append(all, modelsOf([]operation{op})...)
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
		"swagger": "2.0", "info": o.info(), "paths": r.paths, "parameters": r.parameters, "definitions": definitions,
		"securityDefinitions": o.security(), "security": []m{{"BearerToken": []string{}}},
	}, nil
}

// paths are the documents of version 3 by their path below /openapi/v3/.
func (o *OpenAPI) paths() map[string]func() (*document, error) {
	rows, all := o.table.All(), map[string]func() (*document, error){}
	for path, op := range roots(rows) {
		all[path] = func() (*document, error) { return o.get(path, true, o.v3Root(op)) }
	}
	for _, gv := range versions(rows) {
		path := strings.TrimPrefix(root(gv), "/")
		all[path] = func() (*document, error) { return o.get(path, object.IsBuiltin(gv), o.v3(gv)) }
	}
	return all
}

func (o *OpenAPI) serveIndex(w http.ResponseWriter, r *http.Request) {
	paths := m{}
	for path, document := range o.paths() {
		d, err := document()
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
	p, err := pack(data)
	if err != nil {
		fail(w, err)
		return
	}
	write(w, r, mediaJSON, strings.ToUpper(hex.EncodeToString(sum[:])), p)
}

func (o *OpenAPI) serveV3(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/openapi/v3/")
	document := o.paths()[path]
	if document == nil {
		http.NotFound(w, r)
		return
	}
	d, err := document()
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
	d.once.Do(func() { d.pb, d.err = d.json.convert(convert) })
	if d.err != nil {
		fail(w, d.err)
		return
	}
	write(w, r, form.sent, d.etag+"-pb", d.pb)
}

func write(w http.ResponseWriter, r *http.Request, mediaType, etag string, data packed) {
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Vary", "Accept, Accept-Encoding")
	w.Header().Set("Etag", `"`+etag+`"`)
	if slices.Contains(strings.Split(r.Header.Get("If-None-Match"), ","), `"`+etag+`"`) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	// The client is gone when this fails; there is nobody to tell.
	_ = data.write(w, strings.Contains(r.Header.Get("Accept-Encoding"), "gzip"))
}

func fail(w http.ResponseWriter, err error) {
	slog.Default().Error("an OpenAPI document could not be made", "component", "openapi", "error", err)
	http.Error(w, fmt.Sprintf("OpenAPI: %v", err), http.StatusInternalServerError)
}
