package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"hyperkube/internal/pki"
)

// authority issues the certificates of a test.
func authority(t *testing.T) *pki.CA {
	t.Helper()
	ca, err := pki.NewCA("test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func issue(t *testing.T, ca *pki.CA, name string, usage x509.ExtKeyUsage) tls.Certificate {
	t.Helper()
	c, err := ca.IssueTLS(pki.Request{CommonName: name, IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, Usages: []x509.ExtKeyUsage{usage}}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// write puts a certificate with its key where a client reads it.
func write(t *testing.T, file string, c tls.Certificate) {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	var data []byte
	for _, der := range c.Certificate {
		data = append(data, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	data = append(data, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...)
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// serve answers for a config map with the name of whoever asks, and holds watches open, until stop is called.
func serve(t *testing.T, ca *pki.CA, address string) (at string, stop func()) {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AddCert(ca.Cert)
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{issue(t, ca, "server", x509.ExtKeyUsageServerAuth)}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			if r.URL.Query().Get("watch") != "" {
				w.(http.Flusher).Flush()
				<-r.Context().Done()
				return
			}
			_, _ = w.Write([]byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"` + r.TLS.PeerCertificates[0].Subject.CommonName + `"}}`))
		}),
	}
	go func() { _ = s.ServeTLS(l, "", "") }()
	stop = func() { s.Close() }
	t.Cleanup(stop)
	return l.Addr().String(), stop
}

func newClient(t *testing.T, ca *pki.CA, at, cert string) Interface {
	t.Helper()
	c, err := NewREST(&rest.Config{Host: "https://" + at, TLSClientConfig: rest.TLSClientConfig{CAData: ca.PEM, CertFile: cert, KeyFile: cert}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func who(t *testing.T, c Interface) (string, error) {
	t.Helper()
	m, err := ConfigMaps.Get(t.Context(), c, "default", "x")
	if err != nil {
		return "", err
	}
	return m.Name, nil
}

func TestReconnectUsesTheNewCertificate(t *testing.T) {
	ca, cert := authority(t), filepath.Join(t.TempDir(), "client.pem")
	write(t, cert, issue(t, ca, "old", x509.ExtKeyUsageClientAuth))
	at, _ := serve(t, ca, "127.0.0.1:0")
	c := newClient(t, ca, at, cert)
	w, err := c.Watch(t.Context(), ConfigMaps.GVR, "default", metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	write(t, cert, issue(t, ca, "new", x509.ExtKeyUsageClientAuth))
	if got, err := who(t, c); got != "old" || err != nil {
		t.Fatalf("on the connection that is there: %q, %v", got, err)
	}
	// The library reads the file once a second at the most.
	require.Eventually(t, func() bool {
		Reconnect(c)
		got, err := who(t, c)
		return got == "new" && err == nil
	}, 10*time.Second, 100*time.Millisecond, "after it was ended")
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	for {
		select {
		case _, ok := <-w.ResultChan():
			if !ok {
				return
			}
		case <-deadline.C:
			t.Fatal("the watch goes on under the old certificate")
		}
	}
}

func TestRestored(t *testing.T) {
	ca, cert := authority(t), filepath.Join(t.TempDir(), "client.pem")
	write(t, cert, issue(t, ca, "somebody", x509.ExtKeyUsageClientAuth))
	at, stop := serve(t, ca, "127.0.0.1:0")
	c := newClient(t, ca, at, cert)
	if _, err := who(t, c); err != nil || Restored(c) != nil {
		t.Fatalf("%v; the server is there", err)
	}
	stop()
	if _, err := who(t, c); err == nil || Restored(c) == nil {
		t.Fatalf("%v; the server is gone", err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	waiting := Restored(c)
	if _, err := ConfigMaps.Get(cancelled, c, "default", "x"); err == nil || Restored(c) != waiting {
		t.Fatal("a caller that gave up says nothing about the server")
	}
	done := make(chan struct{})
	go func() { Wait(t.Context(), c, time.Hour); close(done) }()
	serve(t, ca, at)
	// Nobody else asks: the waiting itself finds the server.
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("one who waited was not woken")
	}
	if _, err := who(t, c); err != nil || Restored(c) != nil {
		t.Errorf("%v; the server is there again", err)
	}
}
