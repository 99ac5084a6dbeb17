// Package server is the kubelet's HTTPS API on port 10250, by which the API server reads logs, runs commands and
// forwards ports, and monitoring reads metrics. Paths, parameters and permissions are upstream's.
//
// Every request is authenticated (client certificate, or bearer token by TokenReview) and authorized
// (SubjectAccessReview on nodes/<subresource>, KEP-2862), but for those of a handler made with [ReadOnly].
// Streams go to the runtime's own streaming server; this package only relays them.
package server

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	stats "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"context"

	"hyperkube/internal/node/cri"
)

// Pods is what the server needs of the node's pods.
type Pods interface {
	Pods() []*corev1.Pod
	Find(namespace, name string, uid types.UID) (*corev1.Pod, bool)
	Seen(uid types.UID) *cri.Pod
	Exec(ctx context.Context, containerID string, cmd []string, timeout time.Duration) (output []byte, code int32, err error)
}

// Config of the server. Pods, CRI and the sources of metrics are filled in by the kubelet.
type Config struct {
	Address string // to listen on; empty is every address
	Port    int32
	// Auth decides who may do what. nil allows everything.
	Auth *Auth
	TLS  TLS

	Pods                       Pods
	CRI                        *cri.Client
	Stats                      func(ctx context.Context, cpuAndMemoryOnly bool) (*stats.Summary, error)
	Metrics                    prometheus.Gatherer
	CAdvisor, Resource, Probes prometheus.Gatherer
	Configz                    any
	// Healthy says what is wrong with the kubelet; nil when nothing is.
	Healthy func() error
	// NoDebugging turns off logs, exec and the like.
	NoDebugging bool
	// SystemLogs serves /var/log below /logs/.
	SystemLogs bool
}

type server struct {
	Config
	log *slog.Logger
}

// New makes the handler of the whole API.
func New(cfg Config) http.Handler {
	s := &server{cfg, slog.Default().With("component", "kubelet")}
	mux := http.NewServeMux()
	s.common(mux)
	mux.Handle("GET /metrics/cadvisor", gather(cfg.CAdvisor))
	mux.Handle("GET /metrics/resource", gather(cfg.Resource))
	mux.Handle("GET /metrics/probes", gather(cfg.Probes))
	if cfg.NoDebugging {
		return s.guard(mux)
	}
	mux.HandleFunc("GET /runningpods/", s.runningPods)
	mux.HandleFunc("GET /configz", s.configz)
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", s.containerLogs)
	for _, p := range []string{"/{namespace}/{pod}/{container}", "/{namespace}/{pod}/{uid}/{container}"} {
		mux.HandleFunc("/exec"+p, s.exec)
		mux.HandleFunc("/attach"+p, s.attach)
		mux.HandleFunc("POST /run"+p, s.run)
	}
	mux.HandleFunc("/portForward/{namespace}/{pod}", s.portForward)
	mux.HandleFunc("/portForward/{namespace}/{pod}/{uid}", s.portForward)
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	if cfg.SystemLogs {
		mux.Handle("GET /logs/", http.StripPrefix("/logs/", http.FileServer(http.Dir("/var/log"))))
	}
	return s.guard(mux)
}

// ReadOnly makes the handler of the read-only port: no secrets, and nothing that changes anything.
func ReadOnly(cfg Config) http.Handler {
	s := &server{cfg, slog.Default().With("component", "kubelet")}
	mux := http.NewServeMux()
	s.common(mux)
	mux.Handle("GET /metrics/cadvisor", gather(cfg.CAdvisor))
	mux.Handle("GET /metrics/resource", gather(cfg.Resource))
	mux.Handle("GET /metrics/probes", gather(cfg.Probes))
	return mux
}

// Healthz makes the handler of the local health check.
func Healthz(healthy func() error) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { health(w, healthy) })
	return mux
}

func (s *server) common(mux *http.ServeMux) {
	for _, p := range []string{"/healthz", "/healthz/ping", "/healthz/log", "/healthz/syncloop"} {
		mux.HandleFunc("GET "+p, func(w http.ResponseWriter, _ *http.Request) { health(w, s.Healthy) })
	}
	mux.HandleFunc("GET /pods", s.pods)
	mux.HandleFunc("GET /pods/{$}", s.pods)
	mux.Handle("GET /metrics", gather(s.Metrics))
	mux.HandleFunc("GET /stats/summary", s.summary)
}

func health(w http.ResponseWriter, healthy func() error) {
	if err := healthy(); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	fmt.Fprint(w, "ok")
}

func gather(g prometheus.Gatherer) http.Handler {
	return promhttp.HandlerFor(g, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
}

func (s *server) pods(w http.ResponseWriter, _ *http.Request) {
	l := corev1.PodList{TypeMeta: metav1.TypeMeta{Kind: "PodList", APIVersion: "v1"}, Items: []corev1.Pod{}}
	for _, p := range s.Pods.Pods() {
		l.Items = append(l.Items, *p)
	}
	s.json(w, &l)
}

// runningPods lists what the runtime runs, with names and images only.
func (s *server) runningPods(w http.ResponseWriter, r *http.Request) {
	all, err := s.CRI.Pods(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	l := corev1.PodList{TypeMeta: metav1.TypeMeta{Kind: "PodList", APIVersion: "v1"}, Items: []corev1.Pod{}}
	for uid, p := range all {
		pod := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: p.Name, UID: uid}}
		for _, c := range p.Running() {
			pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: c.Name, Image: c.GetImage().GetImage()})
		}
		if len(pod.Spec.Containers) > 0 {
			l.Items = append(l.Items, pod)
		}
	}
	s.json(w, &l)
}

func (s *server) summary(w http.ResponseWriter, r *http.Request) {
	only := r.URL.Query().Get("only_cpu_and_memory") == "true"
	sum, err := s.Stats(r.Context(), only)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	s.json(w, sum)
}

func (s *server) configz(w http.ResponseWriter, _ *http.Request) {
	s.json(w, map[string]any{"kubeletconfig": s.Configz})
}

func (s *server) json(w http.ResponseWriter, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if _, err := w.Write(data); err != nil {
		s.log.Debug("answer not written", "error", err)
	}
}

// find the pod and the container that a path names. It answers the request itself when there is none.
func (s *server) find(w http.ResponseWriter, r *http.Request) (*corev1.Pod, *cri.Pod, bool) {
	pod, ok := s.Pods.Find(r.PathValue("namespace"), r.PathValue("pod"), types.UID(r.PathValue("uid")))
	if !ok {
		http.Error(w, "pod does not exist", http.StatusNotFound)
		return nil, nil, false
	}
	return pod, s.Pods.Seen(pod.UID), true
}

// running finds a container that runs.
func (s *server) running(w http.ResponseWriter, r *http.Request) (*corev1.Pod, *cri.Container, bool) {
	pod, seen, ok := s.find(w, r)
	if !ok {
		return nil, nil, false
	}
	name := r.PathValue("container")
	c := seen.Newest(name)
	if c == nil || !c.Running() {
		http.Error(w, fmt.Sprintf("container not found (%q)", name), http.StatusNotFound)
		s.log.Debug("no such container", "pod", pod.Namespace+"/"+pod.Name, "container", name)
		return nil, nil, false
	}
	return pod, c, true
}

func (s *server) run(w http.ResponseWriter, r *http.Request) {
	_, c, ok := s.running(w, r)
	if !ok {
		return
	}
	out, code, err := s.Pods.Exec(r.Context(), c.Id, strings.Split(r.URL.Query().Get("cmd"), " "), 0)
	if err == nil && code != 0 {
		err = fmt.Errorf("command exited with %d: %s", code, out)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if _, err := w.Write(out); err != nil {
		s.log.Debug("answer not written", "error", err)
	}
}
