// Package server is the API server: one pipeline for every request, behind two doors.
//
//	authentication → flow control → authorization → mutating admission → defaulting → validation → validating admission → store
//
// The HTTP door ([Server.Handler], served by [Server.Run]) speaks Kubernetes' API to the world. The direct door
// ([Server.Direct]) is for roles in the same process: the same pipeline without sockets and encoding, under an
// identity of its own, handing out the shared objects of the caches. What differs between the doors is only
// how bytes become objects; everything behind authorization is in the registry package.
//
// What is served is told by the rows of an object table, which may change while the server runs. What is not plain
// storage (exec, tokens, reviews, allocation of addresses) is plugged in by [Parts].
//
// No panic crosses: it becomes a 500 and a log line. A request other than a watch or a stream ends after the request timeout.
// On shutdown /readyz fails first, then no new connection is taken and watches end, then requests in flight are waited for.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"

	"hyperkube/internal/client"
	"hyperkube/internal/lifecycle"
	"hyperkube/internal/object"
	"hyperkube/internal/server/admission/match"
	"hyperkube/internal/server/admission/policies"
	"hyperkube/internal/server/crd"
	"hyperkube/internal/server/discovery"
	"hyperkube/internal/server/registry"
	"hyperkube/internal/server/request"
	"hyperkube/internal/server/turns"
	"hyperkube/internal/server/webhook"
	"hyperkube/internal/store"
)

// MaxBody is the largest request body in bytes, as upstream's.
const MaxBody = 3 << 20

// Server is one API server.
type Server struct {
	cfg       Config
	parts     Parts
	store     *store.Store
	registry  *registry.Registry
	crds      *crd.Definitions
	discovery *discovery.Documents
	metrics   *metrics
	gatherer  *prometheus.Registry
	nonAPI    map[string]http.Handler // exact paths and prefixes ending in a slash
	log       *slog.Logger
	inflight  struct{ reading, mutating gauge }
	ready     chan struct{}
	born      time.Time     // when New made it
	started   chan struct{} // closed when the namespaces of the system exist
	stopping  atomic.Bool   // asked to end
	draining  atomic.Bool   // takes nothing new
	turns     *turns.Line   // of watches that write
	charging  charging      // of quotas
	active    atomic.Int64  // requests being served, long-running ones apart
	conns     atomic.Int64  // open connections
	queues    *client.QueueStats
	ended     chan struct{} // told of ended requests and connections, while stopping
	listener  atomic.Pointer[net.Listener]
}

// New makes a server. Nothing is served before Run; the direct door works at once.
func New(cfg Config) (*Server, error) {
	if cfg.Etcd == nil {
		return nil, errors.New("API server: no etcd client")
	}
	if cfg.Table == nil {
		return nil, errors.New("API server: no table of kinds")
	}
	cfg.setDefaults()
	s := &Server{cfg: cfg, parts: cfg.Parts, log: slog.Default().With("component", "apiserver"), born: time.Now(), ready: make(chan struct{}), started: make(chan struct{}), ended: make(chan struct{}, 1), turns: turns.New(), queues: client.NewQueueStats()}
	s.parts.Table = cfg.Table
	s.gatherer = prometheus.NewRegistry()
	s.metrics = newMetrics(s)
	s.parts.Metrics = s.gatherer
	s.gatherer.MustRegister(s.metrics, s.metrics.authorized, &s.metrics.usage, s.queues, collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(collectors.MetricsAll)), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	s.openStore()
	s.inflight.reading.limit = int64(cfg.MaxInFlight)
	s.inflight.mutating.limit = int64(cfg.MaxMutatingInFlight)
	s.discovery = discovery.New(cfg.Table, s.discovered)
	s.builtinSubresources()
	if cfg.Wire != nil {
		// The parts may read through the direct door while they are put together, though only what needs no admission.
		s.registry = registry.New(registry.Config{Store: s.store, EventTTL: cfg.EventTTL})
		if err := cfg.Wire(s.own(), &s.parts); err != nil {
			s.store.Close()
			return nil, fmt.Errorf("API server: %w", err)
		}
	}
	if s.parts.Hooks == nil {
		s.parts.Hooks = map[schema.GroupResource]WriteHook{}
	}
	s.parts.Hooks[schema.GroupResource{Group: "apiextensions.k8s.io", Resource: "customresourcedefinitions"}] = crd.Hook
	for _, r := range []string{"validatingwebhookconfigurations", "mutatingwebhookconfigurations"} {
		s.parts.Hooks[schema.GroupResource{Group: "admissionregistration.k8s.io", Resource: r}] = match.Hook
	}
	for _, r := range []string{"validatingadmissionpolicies", "mutatingadmissionpolicies"} {
		s.parts.Hooks[schema.GroupResource{Group: "admissionregistration.k8s.io", Resource: r}] = policies.Hook
	}
	for _, r := range []string{"resourceclaims", "resourceclaimtemplates"} {
		s.parts.Hooks[schema.GroupResource{Group: "resource.k8s.io", Resource: r}] = s.adminAccess
	}
	s.registry = registry.New(registry.Config{Store: s.store, Admission: s.parts.Admission, Hooks: s.parts.Hooks, Followed: s.parts.Followed, Charge: s.charge, EventTTL: cfg.EventTTL})
	own := s.own()
	if c := s.parts.Admission; c != nil {
		s.gatherer.MustRegister(c)
	}
	s.crds = crd.New(crd.Config{Table: cfg.Table, Store: s.store, Managers: s.registry.Managers(), Client: own, Webhooks: webhook.New(own)})
	s.gatherer.MustRegister(s.crds.Collectors()...)
	s.nonAPI = s.nonAPIHandlers()
	return s, nil
}

func (s *Server) openStore() {
	c := store.Config{Client: s.cfg.Etcd, Prefix: s.cfg.Prefix, Metrics: s.gatherer, CompactionInterval: s.cfg.CompactionInterval}
	if e := s.cfg.Encryption; e != nil {
		c.Transformer = e
		s.gatherer.MustRegister(e.Collectors()...)
		s.parts.Checks = append(s.parts.Checks, e.Checks()...)
		s.parts.Background = append(s.parts.Background, e.Run)
	}
	s.store = store.New(c)
	if e := s.cfg.Encryption; e != nil {
		e.OnChange(s.store.Reread)
	}
}

func (c *Config) setDefaults() {
	def := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	defTime := func(p *time.Duration, v time.Duration) {
		if *p == 0 {
			*p = v
		}
	}
	if c.BindAddress == "" {
		c.BindAddress = "0.0.0.0"
	}
	def(&c.Port, 6443)
	def(&c.MaxInFlight, 400)
	def(&c.MaxMutatingInFlight, 200)
	defTime(&c.RequestTimeout, time.Minute)
	defTime(&c.MinRequestTimeout, 30*time.Minute)
	defTime(&c.EventTTL, time.Hour)
	if c.Components == nil {
		c.Components = map[string]string{
			"scheduler":          "https://127.0.0.1:10259/healthz",
			"controller-manager": "https://127.0.0.1:10257/healthz",
		}
	}
}

// loopback is the server's own identity.
func loopback() user.Info {
	return &user.DefaultInfo{Name: "system:apiserver", Groups: []string{user.SystemPrivilegedGroup, user.AllAuthenticated}}
}

// discovered is what is served elsewhere.
func (s *Server) discovered() []discovery.Foreign {
	if s.parts.Groups == nil {
		return nil
	}
	return s.parts.Groups()
}

// Ready is closed when the server answers /readyz with ok for the first time.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Handler is the HTTP door.
func (s *Server) Handler() http.Handler { return http.HandlerFunc(s.serve) }

// Registry is the part of the pipeline behind authorization, for handlers of subresources.
func (s *Server) Registry() *registry.Registry { return s.registry }

// Objects tells how many objects of the request's resource there are, as far as is known.
func (s *Server) Objects(req *request.Request) int {
	k, _ := s.cfg.Table.Resource(req.GVR())
	if k == nil || k.Virtual {
		return 0
	}
	return s.store.Count(k)
}

// Store behind the server.
func (s *Server) Store() *store.Store { return s.store }

// Table of the rows that are served.
func (s *Server) Table() *object.Table { return s.cfg.Table }

// Metrics is where parts of the server register theirs.
func (s *Server) Metrics() prometheus.Registerer { return s.gatherer }

// Addr is the address that Run listens on; nil before.
func (s *Server) Addr() net.Addr {
	if l := s.listener.Load(); l != nil {
		return (*l).Addr()
	}
	return nil
}

// Close ends the store of a server that was never run.
func (s *Server) Close() { s.store.Close() }

// background runs f until ctx ends; an error is logged.
func (s *Server) background(ctx context.Context, f func(context.Context) error) {
	if err := lifecycle.Persist(ctx, "apiserver", f); err != nil && ctx.Err() == nil {
		s.log.Error("a part of the API server has ended", "err", err)
	}
}
