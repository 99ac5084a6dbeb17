// Package secureport is the HTTPS port of a role that is no API server: health for everyone, metrics and profiles for
// whom the API server lets.
//
// Who asks is told by a client certificate, checked against the file given or against the authorities that the API server
// publishes (kube-system/extension-apiserver-authentication), or by a token that the API server reviews. Whether that may be
// is a SubjectAccessReview of the path. Answers are kept for ten seconds. Without a certificate of its own the port
// serves a self-signed one, made in memory.
package secureport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"hyperkube/internal/client"
	"hyperkube/internal/flags"
	"hyperkube/internal/health"
	"hyperkube/internal/lifecycle"
	"hyperkube/internal/pki"
)

// Config of the port.
type Config struct {
	Component        string // names the self-signed certificate and the log: "kube-scheduler"
	BindAddress      string // "" is all addresses
	Port             int
	CertFile         string
	KeyFile          string
	ClientCAFile     string   // "": what the API server publishes
	AlwaysAllowPaths []string // nil: /healthz, /readyz, /livez
	Profiling        bool     // /debug/pprof
	TLS              flags.TLS

	// Authn and Authz ask the API server who somebody is and what they may; nil means the client given to Serve.
	Authn, Authz client.Interface
	// Configz is the role's configuration as /configz tells it, by the name of its API group; nil serves none.
	Configz map[string]any
}

// Serve answers until ctx ends. c asks the API server about users and their rights. An error that trying again would not
// mend (no such file, the port is taken) is [lifecycle.Fatal].
func Serve(ctx context.Context, cfg Config, c client.Interface, metrics prometheus.Gatherer, checks ...health.Check) error {
	certs, err := load(&cfg)
	if err != nil {
		return lifecycle.Fatal(fmt.Errorf("%s: %w", cfg.Component, err))
	}
	l, err := net.Listen("tcp", net.JoinHostPort(cfg.BindAddress, strconv.Itoa(cfg.Port)))
	if err != nil {
		return lifecycle.Fatal(fmt.Errorf("%s: %w", cfg.Component, err))
	}
	if cfg.Authn == nil {
		cfg.Authn = c
	}
	if cfg.Authz == nil {
		cfg.Authz = c
	}
	open := cfg.AlwaysAllowPaths
	if open == nil {
		open = []string{"/healthz", "/readyz", "/livez"}
	}
	g := &guard{authn: cfg.Authn, authz: cfg.Authz, open: open, log: slog.Default().With("component", cfg.Component), authorities: published(cfg.Authn)}
	if cfg.ClientCAFile != "" {
		g.authorities = func(context.Context) *x509.CertPool { return certs.Pool() }
	}
	srv := &http.Server{
		Handler:           g.wrap(mux(&cfg, metrics, checks)),
		TLSConfig:         certs.serverConfig(cfg.TLS),
		ReadHeaderTimeout: 30 * time.Second,
		ErrorLog:          slog.NewLogLogger(g.log.Handler(), slog.LevelDebug),
	}
	return run(ctx, srv, l, certs)
}

func run(ctx context.Context, srv *http.Server, l net.Listener, certs *certificates) error {
	g, ctx := errgroup.WithContext(ctx)
	if certs.follows {
		g.Go(func() error { return certs.Run(ctx) })
	}
	g.Go(func() error {
		if err := srv.ServeTLS(l, "", ""); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serving on %s: %w", l.Addr(), err)
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if err := srv.Shutdown(stop); err != nil {
			return srv.Close()
		}
		return nil
	})
	return g.Wait()
}

func mux(cfg *Config, metrics prometheus.Gatherer, checks []health.Check) *http.ServeMux {
	m := health.NewMux(metrics, checks...)
	if cfg.Configz != nil {
		m.Handle("/configz", health.Configz(cfg.Configz))
	}
	if cfg.Profiling {
		m.HandleFunc("/debug/pprof/", pprof.Index)
		m.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
		m.HandleFunc("/debug/pprof/profile", pprof.Profile)
		m.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		m.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	return m
}

// certificates follow the files, or are one that was made in memory.
type certificates struct {
	*pki.Reloader
	own     *tls.Certificate
	follows bool
}

func load(cfg *Config) (*certificates, error) {
	files, err := pki.NewReloader(pki.Pair{CertFile: cfg.CertFile, KeyFile: cfg.KeyFile}, cfg.ClientCAFile)
	if err != nil {
		return nil, err
	}
	c := &certificates{Reloader: files, follows: cfg.CertFile != "" || cfg.ClientCAFile != ""}
	if cfg.CertFile != "" {
		return c, nil
	}
	own, err := pki.SelfSigned(cfg.Component, []string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}, time.Now())
	if err != nil {
		return nil, fmt.Errorf("serving certificate: %w", err)
	}
	c.own = &own
	return c, nil
}

// serverConfig asks for client certificates and leaves it to the guard to check them, so that health can be read without.
func (c *certificates) serverConfig(t flags.TLS) *tls.Config {
	if c.own == nil {
		c.Tune = t.Apply
		return c.ServerConfig(tls.RequestClientCert, "h2", "http/1.1")
	}
	cfg := &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*c.own},
		ClientAuth: tls.RequestClientCert, NextProtos: []string{"h2", "http/1.1"},
	}
	t.Apply(cfg)
	return cfg
}
