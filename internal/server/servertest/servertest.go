// Package servertest starts real API servers for tests: over a real embedded etcd in a temporary directory, on a
// loopback address. Everything ends with the test.
package servertest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/rest"

	"hyperkube/internal/client"
	"hyperkube/internal/etcd"
	"hyperkube/internal/object"
	"hyperkube/internal/server"
)

// API is a running server.
type API struct {
	*server.Server
	// REST reaches it over HTTPS.
	REST *rest.Config
}

// Admin is the direct door with all rights.
func (a *API) Admin() client.Interface {
	return a.Direct(&user.DefaultInfo{Name: "admin", Groups: []string{user.SystemPrivilegedGroup, user.AllAuthenticated}})
}

// Start runs a server until the test ends. change may alter its configuration; without, everybody may do everything.
func Start(t testing.TB, change func(*server.Config)) *API {
	t.Helper()
	api, _ := StartStoppable(t, change)
	return api
}

// StartStoppable is Start with a function that stops the server early and waits for its end.
func StartStoppable(t testing.TB, change func(*server.Config)) (*API, func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	member, err := etcd.Start(ctx, etcd.Config{Dir: t.TempDir()})
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(member.Close)
	cert, pool := Certificate(t)
	_, services, err := net.ParseCIDR("10.96.0.0/12")
	if err != nil {
		t.Fatal(err)
	}
	cfg := server.Config{
		Etcd: member.Client(), Table: object.Builtin(), BindAddress: "127.0.0.1", Port: -1,
		TLS:          &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12},
		ServiceCIDRs: []*net.IPNet{services}, NodePortRange: utilnet.PortRange{Base: 30000, Size: 2768},
	}
	if change != nil {
		change(&cfg)
	}
	s, err := server.New(cfg)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the server ended with: %v", err)
		}
	})
	t.Cleanup(stop)
	select {
	case <-s.Ready():
	case err := <-done:
		done <- err
		t.Fatalf("the server did not start: %v", err)
	case <-time.After(30 * time.Second):
		t.Fatal("the server did not become ready")
	}
	return &API{Server: s, REST: &rest.Config{
		Host:            "https://" + s.Addr().String(),
		TLSClientConfig: rest.TLSClientConfig{CAData: pool},
		QPS:             -1,
	}}, stop
}

// Certificate makes a certificate for 127.0.0.1 that vouches for itself, and its PEM.
func Certificate(t testing.TB) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
