package controllermanager

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"hyperkube/internal/health"
	"hyperkube/internal/lifecycle"
	"hyperkube/internal/pki"
)

// serve answers on the secure port until ctx ends.
func (r *Role) serve(ctx context.Context) error {
	s := r.cfg.Serving
	certs, err := r.certificates()
	if err != nil {
		return lifecycle.Fatal(err)
	}
	l, err := net.Listen("tcp", net.JoinHostPort(s.BindAddress, strconv.Itoa(s.Port)))
	if err != nil {
		return lifecycle.Fatal(fmt.Errorf("controller manager: %w", err))
	}
	guard := &guard{client: r.who.manager, open: s.AlwaysAllowPaths, authorities: r.authorities(certs), log: r.log}
	srv := &http.Server{
		Handler:           guard.wrap(r.mux()),
		TLSConfig:         certs.ServerConfig(tls.RequestClientCert, "h2", "http/1.1"),
		ReadHeaderTimeout: 30 * time.Second,
	}
	g, ctx := errgroup.WithContext(ctx)
	if s.CertFile != "" || s.ClientCAFile != "" {
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

// certificates follow the files, or give a self-signed certificate where none is configured.
func (r *Role) certificates() (*certificates, error) {
	s := r.cfg.Serving
	files, err := pki.NewReloader(pki.Pair{CertFile: s.CertFile, KeyFile: s.KeyFile}, s.ClientCAFile)
	if err != nil {
		return nil, err
	}
	c := &certificates{Reloader: files}
	if s.CertFile == "" {
		own, err := pki.SelfSigned("kube-controller-manager", []string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}, time.Now())
		if err != nil {
			return nil, fmt.Errorf("serving certificate: %w", err)
		}
		c.own = &own
	}
	return c, nil
}

type certificates struct {
	*pki.Reloader
	own *tls.Certificate
}

// ServerConfig asks for client certificates and leaves it to the guard to check them, so that health can be read without.
func (c *certificates) ServerConfig(auth tls.ClientAuthType, protocols ...string) *tls.Config {
	if c.own == nil {
		return c.Reloader.ServerConfig(auth, protocols...)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*c.own}, ClientAuth: auth, NextProtos: protocols}
}

// authorities gives the authorities of client certificates: those of the file, or those that the API server publishes.
func (r *Role) authorities(c *certificates) func(context.Context) *x509.CertPool {
	if r.cfg.Serving.ClientCAFile != "" {
		return func(context.Context) *x509.CertPool { return c.Pool() }
	}
	return published(r.who.manager)
}

func (r *Role) mux() *http.ServeMux {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), &managed{r})
	var checks []health.Check
	for _, e := range r.chosen {
		checks = append(checks, health.Check{Name: e.name, Func: func(context.Context) error {
			m := r.leading.Load()
			if m == nil || !m.Has(e.name) {
				return nil // another manager leads, or the controller has nothing to do
			}
			return m.Health(e.name)
		}})
	}
	m := health.NewMux(reg, checks...)
	if r.cfg.Serving.Profiling {
		m.HandleFunc("/debug/pprof/", pprof.Index)
		m.HandleFunc("/debug/pprof/profile", pprof.Profile)
		m.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		m.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	return m
}

// managed tells in metrics which controllers run and whether this manager leads. Names are upstream's.
type managed struct{ r *Role }

var (
	leadingDesc = prometheus.NewDesc("leader_election_master_status", "Gauge of if the reporting system is the leader of the relevant lease, 0 indicates backup, 1 indicates leader.", []string{"name"}, nil)
	runningDesc = prometheus.NewDesc("running_managed_controllers", "Indicates where instances of a controller are currently running", []string{"manager", "name"}, nil)
)

func (m *managed) Describe(ch chan<- *prometheus.Desc) {
	ch <- leadingDesc
	ch <- runningDesc
}

func (m *managed) Collect(ch chan<- prometheus.Metric) {
	running := m.r.leading.Load()
	leads := 0.0
	if running != nil {
		leads = 1
		for _, name := range running.Names() {
			up := 0.0
			if running.Health(name) == nil {
				up = 1
			}
			ch <- prometheus.MustNewConstMetric(runningDesc, prometheus.GaugeValue, up, "kube-controller-manager", name)
		}
	}
	ch <- prometheus.MustNewConstMetric(leadingDesc, prometheus.GaugeValue, leads, m.r.cfg.LeaderElection.Name)
}
