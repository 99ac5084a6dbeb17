// Package health serves what says how a role is: /livez, /readyz and /healthz with a path below for
// each check, and /metrics.
//
// The answers have upstream's form: "ok", or with ?verbose (and whenever a check fails, with status 500)
// a line for each check, "[+]name ok" or "[-]name failed: reason withheld". Reasons go to the log, since
// these paths may be read without authentication.
package health

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Check is one thing that must hold.
type Check struct {
	Name string
	Func func(context.Context) error
}

// Ping is the check that holds as long as the process answers.
var Ping = Check{"ping", func(context.Context) error { return nil }}

// NewMux serves the health paths over the given checks, and /metrics from the registry unless that is nil.
func NewMux(metrics prometheus.Gatherer, checks ...Check) *http.ServeMux {
	m := http.NewServeMux()
	for _, path := range []string{"/livez", "/readyz", "/healthz"} {
		Install(m, path, checks...)
	}
	if metrics != nil {
		m.Handle("/metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	}
	return m
}

// Listen serves the health paths over the given checks at an address, without TLS, until stop is called.
func Listen(address string, checks ...Check) (stop func(), err error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("health address: %w", err)
	}
	s := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: NewMux(nil, checks...)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			slog.Default().Error("the health paths are not served any more", "address", address, "error", err)
		}
	}()
	return func() {
		_ = s.Close() // only of what whoever asked would see
		<-ended
	}, nil
}

// Configz tells a role's configuration, by the name under which upstream's has it, as JSON.
func Configz(configs map[string]any) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		data, err := json.Marshal(configs)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		_, _ = w.Write(data) // whoever asked is gone
	})
}

// Install serves one health path and a path below it for each check.
func Install(m *http.ServeMux, path string, checks ...Check) {
	checks = append([]Check{Ping}, checks...)
	name := strings.TrimPrefix(path, "/")
	m.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { serve(w, r, name, checks) })
	for _, c := range checks {
		m.HandleFunc(path+"/"+c.Name, func(w http.ResponseWriter, r *http.Request) { serveOne(w, r, name, c) })
	}
}

// serveOne tells of a check that holds in less than serve does.
func serveOne(w http.ResponseWriter, r *http.Request, name string, c Check) {
	err := c.Func(r.Context())
	if err != nil {
		serve(w, r, name, []Check{{Name: c.Name, Func: func(context.Context) error { return err }}})
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprint(w, "ok")
}

func serve(w http.ResponseWriter, r *http.Request, name string, checks []Check) {
	excluded := map[string]bool{}
	for _, x := range r.URL.Query()["exclude"] {
		excluded[x] = true
	}
	var unknown []string
	for x := range excluded {
		if !slices.ContainsFunc(checks, func(c Check) bool { return c.Name == x }) {
			unknown = append(unknown, strconv.Quote(x))
		}
	}
	var text strings.Builder
	failed := false
	for _, c := range checks {
		if excluded[c.Name] {
			fmt.Fprintf(&text, "[+]%s excluded: ok\n", c.Name)
			continue
		}
		if err := c.Func(r.Context()); err != nil {
			failed = true
			fmt.Fprintf(&text, "[-]%s failed: reason withheld\n", c.Name)
			slog.Default().Info("health check failed", "component", "health", "check", c.Name, "error", err)
			continue
		}
		fmt.Fprintf(&text, "[+]%s ok\n", c.Name)
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		fmt.Fprintf(&text, "warn: some health checks cannot be excluded: no matches for %s\n", strings.Join(unknown, ","))
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	switch {
	case failed:
		w.WriteHeader(http.StatusInternalServerError)
		fmt.Fprintf(w, "%s%s check failed\n", text.String(), name)
	case r.URL.Query().Has("verbose"):
		fmt.Fprintf(w, "%s%s check passed\n", text.String(), name)
	default:
		fmt.Fprint(w, "ok")
	}
}
