package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	corev1 "k8s.io/api/core/v1"

	"hyperkube/internal/health"
)

// taintAutoscaler is put on nodes that the cluster autoscaler is about to remove; load balancers should drain them.
const taintAutoscaler = "ToBeDeletedByClusterAutoscaler"

// healthServer answers load balancers: how the proxy is, and on Services' health check node ports, whether this
// node has endpoints.
type healthServer struct {
	log *slog.Logger

	mu       sync.Mutex
	lastSync time.Time
	draining bool
	ports    map[uint16]*healthPort
}

type healthPort struct {
	service serviceKey
	local   int
	server  *http.Server
}

func newHealthServer(log *slog.Logger) *healthServer {
	return &healthServer{log: log, ports: map[uint16]*healthPort{}}
}

func (h *healthServer) setNode(n *corev1.Node) {
	draining := n == nil || n.DeletionTimestamp != nil
	if n != nil {
		for _, t := range n.Spec.Taints {
			draining = draining || t.Key == taintAutoscaler
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.draining = draining
}

func (h *healthServer) synced() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lastSync = time.Now()
}

// healthy tells whether rules have been written and the node is not on its way out. Upstream's answer has the same fields.
func (h *healthServer) status(eligible bool) (code int, body any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	code = http.StatusOK
	if h.lastSync.IsZero() || eligible && h.draining {
		code = http.StatusServiceUnavailable
	}
	return code, map[string]any{"lastUpdated": h.lastSync.String(), "currentTime": time.Now().String(), "nodeEligible": !h.draining}
}

func (h *healthServer) handler() http.Handler {
	m := http.NewServeMux()
	// /healthz is for load balancers and fails on a node that is being drained (KEP-3836); /livez is for supervisors.
	for path, eligible := range map[string]bool{"/healthz": true, "/livez": false} {
		m.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			code, body := h.status(eligible)
			reply(w, code, body)
		})
	}
	return m
}

func reply(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // the asker went away
}

// setPorts opens and closes health check node ports as Services come and go.
func (h *healthServer) setPorts(tables []*table) {
	h.mu.Lock()
	defer h.mu.Unlock()
	want := map[uint16]*healthPort{}
	for _, t := range tables {
		for key, ports := range t.written {
			for _, p := range ports {
				if n := p.port.HealthCheckNodePort; n != 0 {
					local := map[string]bool{}
					for _, e := range p.sel.Local {
						local[e.Addr.Addr().String()] = true
					}
					if want[n] == nil || want[n].local < len(local) {
						want[n] = &healthPort{service: key, local: len(local)}
					}
				}
			}
		}
	}
	for n, have := range h.ports {
		if w := want[n]; w != nil && w.service == have.service {
			have.local = w.local
			delete(want, n)
			continue
		}
		have.server.Close()
		delete(h.ports, n)
	}
	for n, p := range want {
		h.open(n, p)
	}
}

func (h *healthServer) open(port uint16, p *healthPort) {
	l, err := net.Listen("tcp", ":"+strconv.Itoa(int(port)))
	if err != nil {
		h.log.Error("cannot serve a health check node port", "service", p.service.namespace+"/"+p.service.name, "port", port, "err", err)
		return
	}
	p.server = &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		local := p.local
		proxied := !h.lastSync.IsZero()
		h.mu.Unlock()
		code := http.StatusOK
		if local == 0 || !proxied {
			code = http.StatusServiceUnavailable
		}
		w.Header().Set("X-Load-Balancing-Endpoint-Weight", strconv.Itoa(local))
		reply(w, code, map[string]any{
			"service":             map[string]string{"namespace": p.service.namespace, "name": p.service.name},
			"localEndpoints":      local,
			"serviceProxyHealthy": proxied,
		})
	})}
	h.ports[port] = p
	go func() {
		if err := p.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			h.log.Error("health check node port", "port", port, "err", err)
		}
	}()
}

func (h *healthServer) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for n, p := range h.ports {
		p.server.Close()
		delete(h.ports, n)
	}
}

// serveHTTP serves the health and metrics addresses until the returned function is called.
func (p *Proxy) serveHTTP(ctx context.Context) (stop func(), err error) {
	metrics := http.NewServeMux()
	metrics.Handle("/metrics", promhttp.HandlerFor(p.cfg.Metrics, promhttp.HandlerOpts{}))
	metrics.HandleFunc("/healthz", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "ok") })
	if p.cfg.Configz != nil {
		metrics.Handle("/configz", health.Configz(p.cfg.Configz))
	}
	metrics.HandleFunc("/proxyMode", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "iptables") })
	if p.cfg.Profiling {
		metrics.HandleFunc("/debug/pprof/", pprof.Index)
		metrics.HandleFunc("/debug/pprof/profile", pprof.Profile)
		metrics.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	var servers []*http.Server
	stop = func() {
		for _, s := range servers {
			s.Close()
		}
	}
	for _, s := range []struct {
		what, address string
		handler       http.Handler
	}{{"healthz", p.cfg.HealthzAddress, p.health.handler()}, {"metrics", p.cfg.MetricsAddress, metrics}} {
		if s.address == "" {
			continue
		}
		server := &http.Server{Handler: s.handler, ReadHeaderTimeout: 10 * time.Second}
		l, err := net.Listen("tcp", s.address)
		if err != nil && p.cfg.BindHardFail {
			stop()
			return nil, fmt.Errorf("%s address: %w", s.what, err)
		}
		servers = append(servers, server)
		go p.keepServing(ctx, s.what, s.address, server, l)
	}
	return stop, nil
}

// keepServing serves, and tries again while the address cannot be bound: another process may still be on its way out.
func (p *Proxy) keepServing(ctx context.Context, what, address string, s *http.Server, l net.Listener) {
	for ctx.Err() == nil {
		var err error
		if l == nil {
			l, err = net.Listen("tcp", address)
		}
		if err == nil {
			err = s.Serve(l)
			l = nil
		}
		if errors.Is(err, http.ErrServerClosed) {
			return
		}
		p.cfg.Log.Error("cannot serve", "what", what, "address", address, "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(5 * time.Second):
		}
	}
}
