package apiserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"k8s.io/apiserver/pkg/authentication/user"

	"hyperkube/internal/client"
	"hyperkube/internal/etcd"
	"hyperkube/internal/lifecycle"
	"hyperkube/internal/pki"
	"hyperkube/internal/server"
	"hyperkube/internal/server/encryption"
	"hyperkube/internal/server/tracing"
)

// APIServer is a server with its datastore. Make it with [New], then Run it once.
type APIServer struct {
	cfg    Config
	member *etcd.Member // nil with an external datastore
	etcd   *clientv3.Client
	srv    *server.Server
	reload []*pki.Reloader
	// sealing encrypts values in the datastore; nil: they are stored as they are.
	sealing *encryption.Set
}

// New opens the datastore and puts the server together. ctx bounds the start of an embedded datastore.
func New(ctx context.Context, cfg Config) (*APIServer, error) {
	a := &APIServer{cfg: cfg}
	if cfg.EncryptionFile != "" {
		s, err := encryption.New(ctx, encryption.Config{File: cfg.EncryptionFile, Reload: cfg.EncryptionReload})
		if err != nil {
			return nil, err
		}
		a.sealing = s
	}
	if err := a.openEtcd(ctx); err != nil {
		return nil, err
	}
	if err := a.assemble(); err != nil {
		a.closeEtcd()
		return nil, err
	}
	return a, nil
}

func (a *APIServer) openEtcd(ctx context.Context) error {
	if len(a.cfg.EtcdServers) > 0 {
		c, err := etcd.Dial(etcd.Remote{Endpoints: a.cfg.EtcdServers, CertFile: a.cfg.EtcdCertFile, KeyFile: a.cfg.EtcdKeyFile, CAFile: a.cfg.EtcdCA})
		a.etcd = c
		return err
	}
	if a.cfg.DataDir == "" {
		return errors.New("either --etcd-servers or, for an embedded datastore, --data-dir is needed")
	}
	m, err := etcd.Start(ctx, etcd.Config{Dir: filepath.Join(a.cfg.DataDir, "etcd")})
	if err != nil {
		return err
	}
	a.member, a.etcd = m, m.Client()
	return nil
}

func (a *APIServer) closeEtcd() {
	if a.member != nil {
		a.member.Close()
		return
	}
	// A remote client that cannot say goodbye is gone all the same.
	_ = a.etcd.Close()
}

// reloader follows a certificate and, when there is one, a bundle of authorities.
func (a *APIServer) reloader(cert, key, bundle string) (*pki.Reloader, error) {
	r, err := pki.NewReloader(pki.Pair{CertFile: cert, KeyFile: key}, bundle)
	if err == nil {
		a.reload = append(a.reload, r)
	}
	return r, err
}

func (a *APIServer) assemble() error {
	if err := a.ensureServingCert(); err != nil {
		return err
	}
	serving, err := a.reloader(a.cfg.TLSCertFile, a.cfg.TLSKeyFile, a.cfg.ClientCAFile)
	if err != nil {
		return err
	}
	serving.Tune = a.cfg.TLS.Apply
	table, err := servedTable(a.cfg.RuntimeConfig)
	if err != nil {
		return err
	}
	tracer, err := a.tracing()
	if err != nil {
		return err
	}
	w := &wiring{a: a, cfg: a.cfg, serving: serving, table: table}
	a.srv, err = server.New(server.Config{
		Etcd: a.etcd, Prefix: a.cfg.EtcdPrefix, Table: table, Encryption: a.sealing,
		BindAddress: a.cfg.BindAddress, Port: a.cfg.Port, AdvertiseAddress: a.cfg.AdvertiseAddress,
		// Certificates of clients are judged by the authenticator: a bad one is 401, not a broken handshake.
		TLS:          serving.ServerConfig(tls.RequestClientCert, "h2", "http/1.1"),
		ServiceCIDRs: a.cfg.ServiceCIDRs, NodePortRange: a.cfg.NodePortRange,
		MaxInFlight: a.cfg.MaxInFlight, MaxMutatingInFlight: a.cfg.MaxMutatingInFlight,
		RequestTimeout: a.cfg.RequestTimeout, MinRequestTimeout: a.cfg.MinRequestTimeout, EventTTL: a.cfg.EventTTL,
		ShutdownDelay: a.cfg.ShutdownDelay, WatchGrace: a.cfg.WatchGrace, LivezGrace: a.cfg.LivezGrace, ShutdownRetryAfter: a.cfg.ShutdownRetryAfter,
		CompactionInterval: a.cfg.CompactionInterval, GoawayChance: a.cfg.GoawayChance,
		Profiling: a.cfg.Profiling, Components: a.cfg.Components,
		Wire: w.wire, Parts: server.Parts{Tracer: tracer},
	})
	if err != nil {
		return err
	}
	w.srv = a.srv
	return nil
}

// tracing makes the tracer, which then sees what the datastore is asked; nil: no traces.
func (a *APIServer) tracing() (*tracing.Tracer, error) {
	if a.cfg.TracingFile == "" {
		return nil, nil
	}
	c, err := tracing.Load(a.cfg.TracingFile)
	if err != nil {
		return nil, err
	}
	a.etcd.KV = tracing.Store(a.etcd.KV)
	return tracing.New(c)
}

// ensureServingCert makes a self-signed pair where no certificate is given.
func (a *APIServer) ensureServingCert() error {
	c := &a.cfg
	if c.TLSCertFile != "" || c.TLSKeyFile != "" {
		if c.TLSCertFile == "" || c.TLSKeyFile == "" {
			return errors.New("--tls-cert-file and --tls-private-key-file go together")
		}
		return nil
	}
	if c.CertDir == "" {
		return errors.New("--tls-cert-file or --cert-dir is needed")
	}
	c.TLSCertFile, c.TLSKeyFile = filepath.Join(c.CertDir, "apiserver.crt"), filepath.Join(c.CertDir, "apiserver.key")
	if _, err := os.Stat(c.TLSCertFile); err == nil {
		return nil
	}
	ips := []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	if c.AdvertiseAddress != nil {
		ips = append(ips, c.AdvertiseAddress)
	}
	ca, err := pki.NewCA("apiserver-ca", time.Now())
	if err != nil {
		return err
	}
	cert, key, err := ca.Issue(pki.Request{CommonName: "apiserver", DNSNames: []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"}, IPs: ips}, time.Now())
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.CertDir, 0o700); err != nil {
		return fmt.Errorf("making a serving certificate: %w", err)
	}
	if err := pki.WriteFile(c.TLSKeyFile, key, 0o600, true); err != nil {
		return err
	}
	return pki.WriteFile(c.TLSCertFile, append(cert, ca.PEM...), 0o644, true)
}

// Ready is closed when the server answers /readyz with ok for the first time.
func (a *APIServer) Ready() <-chan struct{} { return a.srv.Ready() }

// Direct is the API for a role of this process, under the role's own identity.
func (a *APIServer) Direct(u user.Info) client.Interface { return a.srv.Direct(u) }

// Run serves until ctx ends; then the datastore is closed. It fails when an embedded datastore did.
func (a *APIServer) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if a.member != nil {
		go func() { cancel(a.member.Ended(ctx)) }()
	}
	defer a.closeEtcd()
	defer a.srv.Close()
	var files lifecycle.Group
	for _, r := range a.reload {
		files.Start(lifecycle.Part{Name: "certificates", Run: r.Run})
	}
	defer files.Stop()
	err := a.srv.Run(ctx)
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}
