package bootstrap

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	certv1 "k8s.io/api/certificates/v1"

	"hyperkube/internal/client"
	"hyperkube/internal/pki"
)

// Serving is a serving certificate from the cluster's signer kubernetes.io/kubelet-serving.
type Serving struct {
	API      client.Interface
	CertDir  string
	NodeName string
	DNSNames []string
	IPs      []net.IP

	cert atomic.Pointer[tls.Certificate]
}

func (s *Serving) store() store { return store{s.CertDir, "kubelet-server"} }

// Certificate is the newest one, for tls.Config. There is none before the first was approved.
func (s *Serving) Certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c := s.cert.Load(); c != nil {
		return c, nil
	}
	return nil, errors.New("no serving certificate available for the kubelet")
}

// Run asks for certificates until ctx ends.
func (s *Serving) Run(ctx context.Context) error {
	load := func() (*tls.Certificate, error) {
		c, err := s.store().load()
		if err != nil || c == nil || time.Now().After(c.Leaf.NotAfter) || !covers(c.Leaf, s.DNSNames, s.IPs) {
			return nil, err
		}
		s.cert.Store(c)
		return c, nil
	}
	return rotate(ctx, s.API, time.Now, load, func(ctx context.Context) error {
		data, err := obtain(ctx, s.API, Wish{Signer: certv1.KubeletServingSignerName, NodeName: s.NodeName, Server: true, DNSNames: s.DNSNames, IPs: s.IPs})
		if err != nil {
			return err
		}
		c, err := s.store().save(data, time.Now())
		if err == nil {
			s.cert.Store(c)
		}
		return err
	})
}

func covers(c *x509.Certificate, names []string, ips []net.IP) bool {
	for _, n := range names {
		if c.VerifyHostname(n) != nil {
			return false
		}
	}
	for _, ip := range ips {
		if c.VerifyHostname(ip.String()) != nil {
			return false
		}
	}
	return true
}

// SelfSigned gives the serving certificate of a kubelet that was given none: kubelet.crt and kubelet.key of the certificate
// directory, made when missing, expired or for other names.
func SelfSigned(certDir, nodeName string, ips []net.IP) (*tls.Certificate, error) {
	pair := pki.Pair{CertFile: filepath.Join(certDir, "kubelet.crt"), KeyFile: filepath.Join(certDir, "kubelet.key")}
	names := []string{nodeName}
	if c, err := pair.TLS(); err == nil {
		leaf, err := x509.ParseCertificate(c.Certificate[0])
		if err == nil && time.Now().Before(leaf.NotAfter) && covers(leaf, names, ips) {
			return c, nil
		}
	}
	c, err := pki.SelfSigned(fmt.Sprintf("%s@%d", nodeName, time.Now().Unix()), names, ips, time.Now())
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(certDir, 0o700); err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		return nil, err
	}
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]})
	if err := errors.Join(pki.WriteFile(pair.KeyFile, key, 0o600, false), pki.WriteFile(pair.CertFile, cert, 0o644, false)); err != nil {
		return nil, err
	}
	return &c, nil
}
