package openapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	openapi_v2 "github.com/google/gnostic-models/openapiv2"
	openapi_v3 "github.com/google/gnostic-models/openapiv3"
	"google.golang.org/protobuf/proto"

	"hyperkube/internal/object"
	"hyperkube/internal/server/negotiate"
)

// protobuf names one protobuf form. Clients ask for it by a name with an @ in it, which is not a valid media type: what is
// sent goes by one that can be parsed, and that clients may ask for as well.
type protobuf struct{ asked, sent string }

var (
	proto2 = protobuf{"application/com.github.proto-openapi.spec.v2@v1.0+protobuf", "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"}
	proto3 = protobuf{"application/com.github.proto-openapi.spec.v3@v1.0+protobuf", "application/com.github.proto-openapi.spec.v3.v1.0+protobuf"}
)

// wanted says whether the client prefers the form to JSON; ok is false when it accepts neither.
func (p protobuf) wanted(accept string) (binary, ok bool) {
	media, ok := negotiate.First(accept, func(media string) bool {
		return slices.Contains([]string{p.asked, p.sent, mediaJSON, "application/*", "*/*"}, media)
	})
	return media == p.asked || media == p.sent, ok
}

// shelfSize is how much of what was rendered is kept: more than the documents of the built-in kinds, which are compressed.
const shelfSize = 12 << 20

// OpenAPI serves the documents of a table of kinds. It is safe for concurrent use.
type OpenAPI struct {
	table   *object.Table
	foreign Foreign
	version string // of the server, for the documents' info
	shelf   shelf

	mu         sync.Mutex
	generation int64
	groups     []*group // as the table of that generation has them
	indexed    string   // the index that was served last, and since when
	since      time.Time
}

// document is one rendered document; the protobuf form is made when it is first asked for.
type document struct {
	json packed
	once sync.Once
	pb   packed
	err  error
}

// New makes the documents of what t serves, and of what is foreign; that may be nil.
func New(t *object.Table, foreign Foreign, version string) *OpenAPI {
	return &OpenAPI{table: t, foreign: foreign, version: version, shelf: shelf{most: shelfSize, kept: map[string]*rendered{}}}
}

// Handlers are the paths that it serves.
func (o *OpenAPI) Handlers() map[string]http.Handler {
	return map[string]http.Handler{
		"/openapi/v2":  http.HandlerFunc(o.serveV2),
		"/openapi/v3":  http.HandlerFunc(o.serveIndex),
		"/openapi/v3/": http.HandlerFunc(o.serveV3),
	}
}

// keep is a document from the shelf, made when it is not there.
func (o *OpenAPI) keep(path, tag string, build func() ([]byte, error)) (*document, error) {
	v, err := o.shelf.get(path, tag, func() (any, int, error) {
		data, err := build()
		if err != nil {
			return nil, 0, err
		}
		p, err := pack(data)
		return &document{json: p}, len(p), err
	})
	if err != nil {
		return nil, err
	}
	d, ok := v.(*document)
	if !ok {
		return nil, fmt.Errorf("%s is a %T", path, v)
	}
	return d, nil
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

// v3 renders the document of one group.
func (o *OpenAPI) v3(g *group) ([]byte, error) {
	ops := g.operations()
	models, err := g.schemas(false, modelsOf(ops))
	if err != nil {
		return nil, err
	}
	if g.builtin() {
		err = addShared(models, g.gv)
	} else {
		err = shareAll(models)
	}
	if err != nil {
		return nil, err
	}
	components, info := m{}, m{"title": "Kubernetes CRD Swagger", "version": "v0.1.0"}
	if g.builtin() {
		components["securitySchemes"], info = o.security(), o.info()
	}
	if len(models) > 0 {
		components["schemas"] = models
	}
	return json.Marshal(m{"openapi": "3.0.0", "info": info, "paths": paths3(ops), "components": components})
}

func (o *OpenAPI) serveIndex(w http.ResponseWriter, r *http.Request) {
	paths, all := m{}, o.current()
	for _, g := range all {
		paths[g.path] = m{"serverRelativeURL": "/openapi/v3/" + g.path + "?hash=" + g.tag}
	}
	if o.foreign != nil {
		for path, url := range o.foreign.V3() {
			if paths[path] == nil {
				paths[path] = m{"serverRelativeURL": url}
			}
		}
	}
	data, err := json.Marshal(m{"paths": paths})
	if err != nil {
		fail(w, err)
		return
	}
	// Of text and told apart by its age alone, as clients know it.
	http.ServeContent(w, r, "", o.indexedSince(string(data)), bytes.NewReader(data))
}

// indexedSince is when the index was first seen to be this one.
func (o *OpenAPI) indexedSince(index string) time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.indexed != index {
		o.indexed, o.since = index, time.Now()
	}
	return o.since
}

func (o *OpenAPI) serveV3(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/openapi/v3/")
	all := o.current()
	i := slices.IndexFunc(all, func(g *group) bool { return g.path == path })
	if i < 0 {
		if o.foreign == nil || !o.foreign.ServeV3(path, w, r) {
			w.WriteHeader(http.StatusNotFound)
		}
		return
	}
	if !negotiate.Names(r.Header.Get("Accept")) {
		return // who accepts nothing that could be had gets an empty answer
	}
	g := all[i]
	// A client that names the hash asks for this very content: it never changes.
	if hash := r.URL.Query().Get("hash"); hash != "" {
		if hash != g.tag {
			http.Redirect(w, r, "/openapi/v3/"+path+"?hash="+g.tag, http.StatusMovedPermanently)
			return
		}
		w.Header().Set("Cache-Control", "public, immutable")
	}
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		w.Header().Add("Vary", "Accept-Encoding")
	}
	o.send(w, r, path, g.tag, func() ([]byte, error) { return o.v3(g) }, proto3, func(data []byte) ([]byte, error) {
		p, err := openapi_v3.ParseDocument(data)
		if err != nil {
			return nil, err
		}
		return proto.Marshal(p)
	})
}

func (o *OpenAPI) serveV2(w http.ResponseWriter, r *http.Request) {
	all := o.current()
	w.Header().Add("Vary", "Accept-Encoding")
	o.send(w, r, "v2", o.allTag(all), func() ([]byte, error) { return o.whole(all) }, proto2, func(data []byte) ([]byte, error) {
		p, err := openapi_v2.ParseDocument(data)
		if err != nil {
			return nil, err
		}
		return proto.Marshal(p)
	})
}

// send answers in the form that the client prefers, protobuf or JSON. For a client that has the content nothing is rendered.
func (o *OpenAPI) send(w http.ResponseWriter, r *http.Request, path, tag string, build func() ([]byte, error), form protobuf, convert func([]byte) ([]byte, error)) {
	w.Header().Add("Vary", "Accept")
	binary, ok := form.wanted(r.Header.Get("Accept"))
	if !ok {
		w.WriteHeader(http.StatusNotAcceptable)
		return
	}
	etag, mediaType := tag, mediaJSON
	if binary {
		etag, mediaType = tag+"-pb", form.sent
	}
	if known(r, etag) {
		write(w, r, mediaType, etag, nil)
		return
	}
	d, err := o.keep(path, tag, build)
	if err != nil {
		fail(w, err)
		return
	}
	if !binary {
		write(w, r, mediaType, etag, d.json)
		return
	}
	d.once.Do(func() { d.pb, d.err = d.json.convert(convert) })
	if d.err != nil {
		fail(w, d.err)
		return
	}
	write(w, r, mediaType, etag, d.pb)
}

// known says whether the client has that content.
func known(r *http.Request, etag string) bool {
	return slices.Contains(strings.Split(r.Header.Get("If-None-Match"), ","), `"`+etag+`"`)
}

func write(w http.ResponseWriter, r *http.Request, mediaType, etag string, data packed) {
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Etag", `"`+etag+`"`)
	if known(r, etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	// The client is gone when this fails; there is nobody to tell.
	_ = data.write(w, r)
}

func fail(w http.ResponseWriter, err error) {
	slog.Default().Error("an OpenAPI document could not be made", "component", "openapi", "error", err)
	http.Error(w, fmt.Sprintf("OpenAPI: %v", err), http.StatusInternalServerError)
}
