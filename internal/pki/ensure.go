package pki

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// Options say for which names a cluster's certificates are made.
type Options struct {
	// Hosts and IPs are further names of the API server besides localhost, the node and kubernetes.default.svc.
	Hosts []string
	IPs   []net.IP
	// ServiceIP is the cluster IP of the service default/kubernetes.
	ServiceIP net.IP
	// ClusterDomain is the DNS domain of the cluster; empty means cluster.local.
	ClusterDomain string
	// NodeName and NodeIPs are those of this machine: for its kubelet, and as names of the API server and etcd.
	NodeName string
	NodeIPs  []net.IP
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Files is a cluster's PKI directory in order. The names of the files are kubeadm's where
// kubeadm has one.
//
//	ca.{crt,key}  front-proxy-ca.{crt,key}  etcd/ca.{crt,key}    the authorities
//	sa.{key,pub}                                                 signs service-account tokens
//	apiserver, apiserver-kubelet-client, apiserver-etcd-client, front-proxy-client,
//	etcd/{server,peer}, admin, controller-manager, scheduler, proxy, flannel, dns,
//	kubelet-client, kubelet                                      certificates, each .crt and .key
type Files struct {
	Dir string

	CA, FrontProxyCA, EtcdCA *CA

	// ServiceAccountKey and ServiceAccountPub are file names; ServiceAccount is the key itself.
	ServiceAccountKey, ServiceAccountPub string
	ServiceAccount                       crypto.Signer

	APIServer, APIServerKubeletClient, APIServerEtcdClient Pair
	FrontProxyClient                                       Pair
	EtcdServer, EtcdPeer                                   Pair
	Admin, ControllerManager, Scheduler                    Pair
	Proxy, Flannel, DNS                                    Pair
	KubeletClient, KubeletServer                           Pair

	opts Options
	next time.Time // when the first certificate has to be renewed
}

// Ensure brings dir into order and returns what is there. See the package comment.
func Ensure(dir string, o Options) (*Files, error) {
	if o.ClusterDomain == "" {
		o.ClusterDomain = "cluster.local"
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	unlock, err := lock(dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	f := &Files{Dir: dir, opts: o}
	if err := f.authorities(); err != nil {
		return nil, err
	}
	if err := f.leaves(); err != nil {
		return nil, err
	}
	return f, nil
}

// Run renews certificates when less than a third of their life remains, until ctx ends. A failure is logged
// and tried again an hour later: the old certificate is good for months.
func (f *Files) Run(ctx context.Context) error {
	log := slog.Default().With("component", "pki")
	for {
		wait := max(f.next.Sub(f.opts.Now()), time.Minute)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		renewed, err := Ensure(f.Dir, f.opts)
		if err != nil {
			log.Error("cannot renew certificates", "dir", f.Dir, "err", err)
			f.next = f.opts.Now().Add(time.Hour)
			continue
		}
		f.next = renewed.next
	}
}

// lock keeps two processes from making the same directory at once.
func lock(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the certificate directory: %w", err)
	}
	l, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the certificate directory: %w", err)
	}
	for {
		err = unix.Flock(int(l.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("locking the certificate directory %s: %w", dir, err)
	}
	return func() { l.Close() }, nil // closing gives the lock up
}

// authorities loads or makes the roots of trust, all at once: each waits for the disk.
func (f *Files) authorities() error {
	var g errgroup.Group
	issued := f.issued()
	for _, a := range []struct {
		at               **CA
		name, commonName string
	}{{&f.CA, "ca", "kubernetes"}, {&f.FrontProxyCA, "front-proxy-ca", "front-proxy-ca"}, {&f.EtcdCA, "etcd/ca", "etcd-ca"}} {
		g.Go(func() (err error) {
			*a.at, err = f.authority(a.name, a.commonName, issued)
			return err
		})
	}
	g.Go(f.serviceAccountKey)
	return g.Wait()
}

// authority loads one, or makes it when neither certificate nor key is there, or nothing was issued yet.
func (f *Files) authority(name, commonName string, issued bool) (*CA, error) {
	p := f.pair(name)
	_, certErr := os.Stat(p.CertFile)
	_, keyErr := os.Stat(p.KeyFile)
	if !errors.Is(certErr, fs.ErrNotExist) {
		ca, err := LoadCA(p.CertFile, p.KeyFile)
		if err != nil {
			return nil, err
		}
		if now := f.opts.Now(); now.After(ca.Cert.NotAfter) {
			return nil, fmt.Errorf("certificate authority %s ended at %s: it has to be replaced by hand, with every certificate it issued",
				p.CertFile, ca.Cert.NotAfter.Format(time.RFC3339))
		}
		return ca, nil
	}
	var ca *CA
	var err error
	switch {
	case errors.Is(keyErr, fs.ErrNotExist):
		ca, err = NewCA(commonName, f.opts.Now())
	case issued:
		err = fmt.Errorf("there is a key %s but no certificate %s: restore the certificate, or remove the key to have a new authority made", p.KeyFile, p.CertFile)
	default: // A first start was cut off between the two.
		var key crypto.Signer
		if key, err = LoadKey(p.KeyFile); err == nil {
			ca, err = newCA(commonName, key, f.opts.Now())
		}
	}
	if err != nil {
		return nil, err
	}
	ca.CertFile, ca.KeyFile = p.CertFile, p.KeyFile
	der, err := x509.MarshalPKCS8PrivateKey(ca.Key)
	if err != nil {
		return nil, err
	}
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	// One after the other: a certificate whose key was lost with the power would be of no use.
	if err := WriteFile(p.KeyFile, key, 0o600, true); err != nil {
		return nil, err
	}
	return ca, WriteFile(p.CertFile, ca.PEM, 0o600, true)
}

// issued tells whether any certificate was issued in this directory yet.
func (f *Files) issued() bool {
	for _, l := range f.table() {
		if _, err := os.Stat(f.pair(l.name).CertFile); err == nil {
			return true
		}
	}
	return false
}

func (f *Files) serviceAccountKey() error {
	f.ServiceAccountKey, f.ServiceAccountPub = filepath.Join(f.Dir, "sa.key"), filepath.Join(f.Dir, "sa.pub")
	key, err := LoadKey(f.ServiceAccountKey)
	if errors.Is(err, fs.ErrNotExist) {
		key, err = f.newServiceAccountKey()
	}
	if err != nil {
		return fmt.Errorf("service-account key: %w", err)
	}
	f.ServiceAccount = key
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return fmt.Errorf("service-account key %s: %w", f.ServiceAccountKey, err)
	}
	pub := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	if _, err := os.Stat(f.ServiceAccountPub); err == nil {
		return nil // it may hold older keys besides, for tokens signed by them
	}
	return WriteFile(f.ServiceAccountPub, pub, 0o600, false)
}

func (f *Files) newServiceAccountKey() (crypto.Signer, error) {
	k, err := newKey()
	if err != nil {
		return nil, err
	}
	data, err := encodeKey(k)
	if err != nil {
		return nil, err
	}
	return k, WriteFile(f.ServiceAccountKey, data, 0o600, true)
}

func (f *Files) pair(name string) Pair {
	base := filepath.Join(f.Dir, filepath.FromSlash(name))
	return Pair{CertFile: base + ".crt", KeyFile: base + ".key"}
}

// writePair writes both files of a pair, waiting for the disk only once where it has to.
func writePair(p Pair, certPEM, keyPEM []byte, durable bool) error {
	var g errgroup.Group
	g.Go(func() error { return WriteFile(p.KeyFile, keyPEM, 0o600, durable) })
	g.Go(func() error { return WriteFile(p.CertFile, certPEM, 0o600, durable) })
	return g.Wait()
}
