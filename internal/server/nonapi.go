package server

import (
	"context"
	"net/http"
	"net/http/pprof"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"hyperkube/internal/health"
	"hyperkube/internal/server/encode"
	"hyperkube/internal/server/negotiate"
	"hyperkube/internal/server/request"
	"hyperkube/internal/version"
)

// nonAPIHandlers are the paths that are no resources.
func (s *Server) nonAPIHandlers() map[string]http.Handler {
	h := map[string]http.Handler{
		"/version": http.HandlerFunc(s.serveVersion), "/version/": http.HandlerFunc(s.serveVersion),
		"/metrics": promhttp.HandlerFor(prometheus.Gatherers{s.gatherer, libraryMetrics{}}, promhttp.HandlerOpts{}),
		"/api":     http.HandlerFunc(s.serveLegacyVersions),
		"/apis":    http.HandlerFunc(s.serveGroups),
		"/apis/":   http.HandlerFunc(s.serveGroup),
		"/api/":    http.HandlerFunc(s.serveGroup),
	}
	mux := s.healthHandler()
	for _, p := range []string{"/healthz", "/livez", "/readyz"} {
		h[p], h[p+"/"] = mux, mux
	}
	if s.cfg.Profiling {
		h["/debug/pprof"] = http.RedirectHandler("/debug/pprof/", http.StatusMovedPermanently)
		h["/debug/pprof/"] = http.HandlerFunc(pprof.Index)
		h["/debug/pprof/cmdline"] = http.HandlerFunc(pprof.Cmdline)
		h["/debug/pprof/profile"] = http.HandlerFunc(pprof.Profile)
		h["/debug/pprof/symbol"] = http.HandlerFunc(pprof.Symbol)
		h["/debug/pprof/trace"] = http.HandlerFunc(pprof.Trace)
	}
	for p, f := range s.parts.Handlers {
		h[p] = f
	}
	return h
}

// serveNonAPI finds the handler of a path: the exact one, else that of the longest prefix.
func (s *Server) serveNonAPI(w http.ResponseWriter, r *http.Request, req *request.Request) {
	p := r.URL.Path
	if p == "/" || p == "" {
		s.serveIndex(w, r)
		return
	}
	if h, ok := s.nonAPI[p]; ok {
		h.ServeHTTP(w, r)
		return
	}
	for i := strings.LastIndexByte(p, '/'); i > 0; i = strings.LastIndexByte(p[:i], '/') {
		if h, ok := s.nonAPI[p[:i+1]]; ok {
			h.ServeHTTP(w, r)
			return
		}
	}
	if s.parts.Delegate == nil || !s.parts.Delegate(w, r, req) {
		s.notFound(w, r)
	}
}

// serveIndex lists what there is.
func (s *Server) serveIndex(w http.ResponseWriter, r *http.Request) {
	var paths []string
	for p := range s.nonAPI {
		if len(p) > 1 && !strings.HasSuffix(p, "/") {
			paths = append(paths, p)
		}
	}
	for _, g := range s.discovery.Groups() {
		root := "/apis/" + g.Name
		if g.Name == "" {
			root = "/api"
		} else {
			paths = append(paths, root)
		}
		for _, v := range g.Versions {
			paths = append(paths, root+"/"+v.Version)
		}
	}
	sort.Strings(paths)
	sendDocument(w, r, &metav1.RootPaths{Paths: paths})
}

// sendDocument writes JSON that is no object of the API.
func sendDocument(w http.ResponseWriter, r *http.Request, v any) {
	data, err := marshalIndent(v)
	if err != nil {
		sendStatus(w, r, err)
		return
	}
	send(w, r, http.StatusOK, negotiate.JSON, encode.One(data))
}

// serveVersion answers as a route of the API would that has JSON alone.
func (s *Server) serveVersion(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path != "/version" && r.URL.Path != "/version/":
		sendStatus(w, r, errNotFound())
		return
	case r.Method != http.MethodGet:
		sendStatus(w, r, errNotAllowed())
		return
	case !negotiate.Routed(r.Header.Get("Accept"), negotiate.JSON):
		sendStatus(w, r, errNotRouted(negotiate.JSON))
		return
	}
	sendDocument(w, r, version.Info())
}

// startedInTime are the checks of the start that count for the server's life as well: whoever watches over it may start it again when they do
// not hold after LivezGrace. Until then they are thought to hold.
func (s *Server) startedInTime(all []Check) []Check {
	var out []Check
	for _, c := range all {
		if !strings.HasPrefix(c.Name, "poststarthook/") {
			continue
		}
		out = append(out, Check{Name: c.Name, Func: func(ctx context.Context) error {
			err := c.Func(ctx)
			if err != nil && time.Since(s.born) < s.cfg.LivezGrace {
				return nil
			}
			return err
		}})
	}
	return out
}

// healthHandler serves /healthz, /livez and /readyz.
func (s *Server) healthHandler() http.Handler {
	alive := []Check{{Name: "etcd", Func: s.store.Healthy}}
	healthy := slices.Concat(alive, s.ownChecks(), s.parts.Checks)
	mux := http.NewServeMux()
	health.Install(mux, "/healthz", healthy...)
	health.Install(mux, "/livez", append(slices.Clone(alive), s.startedInTime(healthy)...)...)
	health.Install(mux, "/readyz", append(healthy, s.notStopping())...)
	return mux
}

func (s *Server) serveLegacyVersions(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		sendStatus(w, r, errNotAllowed())
		return
	}
	if s.serveAggregated(w, r, true) {
		return
	}
	host := r.Host
	doc := &metav1.APIVersions{Versions: []string{"v1"},
		ServerAddressByClientCIDRs: []metav1.ServerAddressByClientCIDR{{ClientCIDR: "0.0.0.0/0", ServerAddress: host}}}
	sendMeta(w, r, doc, "APIVersions")
}

func (s *Server) serveGroups(w http.ResponseWriter, r *http.Request) {
	if !s.serveAggregated(w, r, false) {
		sendMeta(w, r, s.discovery.GroupList(), "APIGroupList")
	}
}

// serveGroup answers /apis/<group>, /apis/<group>/<version> and /api/<version>, with and without a slash at the end.
func (s *Server) serveGroup(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	req := request.From(r.Context())
	switch {
	case len(parts) == 1 && parts[0] == "api":
		s.serveLegacyVersions(w, r)
		return
	case len(parts) == 1:
		s.serveGroups(w, r)
		return
	case parts[0] == "api" && len(parts) == 2 && r.Method != http.MethodGet:
		sendStatus(w, r, errNotAllowed())
		return
	case parts[0] == "api" && len(parts) == 2:
		if doc, ok := s.discovery.ResourceList(schema.GroupVersion{Version: parts[1]}); ok {
			sendMeta(w, r, doc, "APIResourceList")
			return
		}
	case parts[0] == "apis" && len(parts) == 2:
		if doc, ok := s.discovery.APIGroup(parts[1]); ok {
			sendMeta(w, r, doc, "APIGroup")
			return
		}
	case parts[0] == "apis" && len(parts) == 3:
		gv := schema.GroupVersion{Group: parts[1], Version: parts[2]}
		if v, ok := s.discovery.Version(gv); ok && v.Own {
			if !v.Custom && r.Method != http.MethodGet {
				sendStatus(w, r, errNotAllowed())
				return
			}
			// The version may go between the two questions.
			if doc, ok := s.discovery.ResourceList(gv); ok {
				sendMeta(w, r, doc, "APIResourceList")
				return
			}
		}
	}
	if s.parts.Delegate == nil || !s.parts.Delegate(w, r, req) {
		s.notFound(w, r)
	}
}

// aggregatedKind of the documents that clients since 1.26 ask for.
const aggregatedKind = "APIGroupDiscoveryList"

// serveAggregated answers when the client asks for the aggregated document first.
func (s *Server) serveAggregated(w http.ResponseWriter, r *http.Request, legacy bool) bool {
	accept := r.Header.Get("Accept")
	if !strings.Contains(accept, aggregatedKind) {
		return false
	}
	f, ok := negotiate.AcceptAs(accept, negotiate.Offer{Protobuf: true, YAML: true, As: func(kind, group, v string) bool {
		return kind == aggregatedKind && group == apidiscoveryv2.GroupName && v == "v2"
	}})
	if !ok {
		return false
	}
	w.Header().Set("Vary", "Accept")
	doc, etag, err := s.discovery.Aggregated(legacy)
	if err != nil {
		sendStatus(w, r, err)
		return true
	}
	w.Header().Set("ETag", etag)
	if r.Header.Get("If-None-Match") == etag {
		w.WriteHeader(http.StatusNotModified)
		return true
	}
	gvk := apidiscoveryv2.SchemeGroupVersion.WithKind(aggregatedKind)
	contentType := f.Media + ";g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
	f.As = ""
	data, err := encode.Any(f, doc, gvk)
	if err != nil {
		sendStatus(w, r, err)
		return true
	}
	w.Header().Set("Cache-Control", "public")
	send(w, r, http.StatusOK, contentType, encode.One(data))
	return true
}

// sendMeta writes a document of meta/v1 in the form that the client accepts.
func sendMeta(w http.ResponseWriter, r *http.Request, doc kruntime.Object, kind string) {
	o := negotiate.Offer{Protobuf: true, YAML: true}
	f, ok := negotiate.Accept(r.Header.Get("Accept"), o)
	if !ok {
		sendStatus(w, r, errNotAcceptable(o))
		return
	}
	f.Pretty = f.Pretty || wantsPretty(r)
	gvk := schema.GroupVersionKind{Version: "v1", Kind: kind}
	if strings.HasPrefix(r.URL.Path, "/api/") || r.URL.Path == "/api" {
		gvk.Version = "" // the documents of the first group are from before they had one
	}
	data, err := encode.Any(f, doc, gvk)
	if err != nil {
		sendStatus(w, r, err)
		return
	}
	send(w, r, http.StatusOK, f.Media, encode.One(data))
}
