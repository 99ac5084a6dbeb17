package pki

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/fsnotify/fsnotify"
)

// Reloader gives the newest state of a certificate pair and of a bundle of authorities that
// lie in files. A broken new version is logged and the old one kept. Safe for concurrent use.
type Reloader struct {
	pair   Pair
	bundle string

	// Tune, when set before [Reloader.ServerConfig], changes each configuration that it makes.
	Tune func(*tls.Config)

	cert atomic.Pointer[tls.Certificate]
	pool atomic.Pointer[trust]
}

type trust struct {
	pem  []byte
	pool *x509.CertPool
}

// NewReloader reads the files once. pair or bundle may be empty; bundle is a PEM file of the authorities
// that the other side's certificates are checked against.
func NewReloader(pair Pair, bundle string) (*Reloader, error) {
	r := &Reloader{pair: pair, bundle: bundle}
	if _, err := r.load(); err != nil {
		return nil, err
	}
	return r, nil
}

// Certificate is the newest certificate.
func (r *Reloader) Certificate() *tls.Certificate { return r.cert.Load() }

// Pool is the newest pool of authorities; nil without a bundle.
func (r *Reloader) Pool() *x509.CertPool {
	if t := r.pool.Load(); t != nil {
		return t.pool
	}
	return nil
}

// Bundle is the PEM text of the newest authorities; nil without a bundle.
func (r *Reloader) Bundle() []byte {
	if t := r.pool.Load(); t != nil {
		return t.pem
	}
	return nil
}

// GetCertificate is for the field of a server's tls.Config.
func (r *Reloader) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return r.cert.Load(), nil
}

// GetClientCertificate is for the field of a client's tls.Config.
func (r *Reloader) GetClientCertificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return r.cert.Load(), nil
}

// ServerConfig is a server's TLS configuration that follows the files. Client certificates are asked for when there
// is a bundle; whether they are checked at the handshake is what auth says. Sessions are resumed across calls.
func (r *Reloader) ServerConfig(auth tls.ClientAuthType, protocols ...string) *tls.Config {
	base := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: r.GetCertificate,
		ClientAuth:     auth,
		NextProtos:     protocols,
		ClientCAs:      r.Pool(),
	}
	if r.Tune != nil {
		r.Tune(base)
	}
	if r.bundle == "" {
		return base
	}
	var current atomic.Pointer[tls.Config]
	current.Store(base)
	outer := base.Clone()
	outer.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		c := current.Load()
		if pool := r.Pool(); c.ClientCAs != pool {
			c = base.Clone()
			c.ClientCAs = pool
			current.Store(c)
		}
		return c, nil
	}
	return outer
}

// Run follows the files until ctx ends.
func (r *Reloader) Run(ctx context.Context) error {
	log := slog.Default().With("component", "pki")
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watching certificates: %w", err)
	}
	defer w.Close()
	for dir := range r.dirs() {
		// The directory, not the file: files are replaced, and mounted secrets are links that move.
		if err := w.Add(dir); err != nil {
			return fmt.Errorf("watching certificates in %s: %w", dir, err)
		}
	}
	// What changed before the watch began would otherwise go unseen.
	r.reload(log)
	for {
		select {
		case <-ctx.Done():
			return nil
		case err, ok := <-w.Errors:
			if !ok {
				return nil
			}
			log.Warn("watching certificates", "err", err)
			r.reload(log)
		case ev, ok := <-w.Events:
			if !ok {
				return nil
			}
			if ev.Op != fsnotify.Chmod {
				r.reload(log)
			}
		}
	}
}

func (r *Reloader) dirs() map[string]bool {
	dirs := map[string]bool{}
	for _, f := range []string{r.pair.CertFile, r.pair.KeyFile, r.bundle} {
		if f != "" {
			dirs[filepath.Dir(f)] = true
		}
	}
	return dirs
}

func (r *Reloader) reload(log *slog.Logger) {
	changed, err := r.load()
	if err != nil {
		// A pair is two files: between their two renames they do not fit, and the second brings another event.
		log.Debug("certificate files not taken up", "err", err)
		return
	}
	if changed {
		log.Info("certificate files taken up", "cert", r.pair.CertFile, "bundle", r.bundle)
	}
}

func (r *Reloader) load() (changed bool, err error) {
	if r.pair.CertFile != "" {
		c, err := r.pair.TLS()
		if err != nil {
			return false, err
		}
		if old := r.cert.Load(); old == nil || !bytes.Equal(old.Certificate[0], c.Certificate[0]) {
			r.cert.Store(c)
			changed = true
		}
	}
	if r.bundle == "" {
		return changed, nil
	}
	data, err := os.ReadFile(r.bundle)
	if err != nil {
		return changed, fmt.Errorf("reading certificate authorities: %w", err)
	}
	if old := r.pool.Load(); old != nil && bytes.Equal(old.pem, data) {
		return changed, nil
	}
	certs, err := ParseCerts(data)
	if err != nil {
		return changed, fmt.Errorf("certificate authorities %s: %w", r.bundle, err)
	}
	pool := x509.NewCertPool()
	for _, c := range certs {
		pool.AddCert(c)
	}
	r.pool.Store(&trust{pem: data, pool: pool})
	return true, nil
}
