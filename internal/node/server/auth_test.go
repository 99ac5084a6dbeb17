package server

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"context"

	"hyperkube/internal/client"
	"hyperkube/internal/pki"
)

func TestSubresources(t *testing.T) {
	for path, want := range map[string][]string{
		"/pods": {"pods", "proxy"}, "/pods/": {"pods", "proxy"}, "/runningpods/": {"pods", "proxy"}, "/healthz/ping": {"healthz", "proxy"},
		"/configz": {"configz", "proxy"}, "/stats/summary": {"stats"}, "/metrics/cadvisor": {"metrics"}, "/logs/x": {"log"},
		"/exec/a/b/c": {"proxy"}, "/podsx": {"proxy"}, "/statsx": {"proxy"},
	} {
		if got := subresources(path); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
}

// reviews answers access reviews: monitors may read metrics.
type reviews struct {
	client.Interface
	asked []string
}

func (r *reviews) Create(_ context.Context, _ client.GVR, obj client.Object, _ metav1.CreateOptions, _ ...string) (client.Object, error) {
	s := obj.(*authorizationv1.SubjectAccessReview).DeepCopy()
	a := s.Spec.ResourceAttributes
	r.asked = append(r.asked, s.Spec.User+" "+a.Verb+" "+a.Resource+"/"+a.Subresource+" "+a.Name)
	s.Status.Allowed = s.Spec.User == "monitor" && a.Subresource == "metrics" || s.Spec.User == "admin"
	return s, nil
}

func TestGuard(t *testing.T) {
	ca, err := pki.NewCA("ca", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := pki.NewCA("ca", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	api := &reviews{}
	auth := &Auth{NodeName: "n1", Client: api, ClientCAs: func() (*x509.CertPool, error) { return ca.Pool(), nil }}
	s := &server{Config{Auth: auth}, slog.Default()}
	srv := httptest.NewUnstartedServer(s.guard(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {})))
	srv.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	srv.StartTLS()
	defer srv.Close()
	get := func(from *pki.CA, name, path string) int {
		t.Helper()
		cfg := &tls.Config{InsecureSkipVerify: true}
		if name != "" {
			cert, key, err := from.Issue(pki.Request{CommonName: name, Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			pair, err := tls.X509KeyPair(cert, key)
			if err != nil {
				t.Fatal(err)
			}
			cfg.Certificates = []tls.Certificate{pair}
		}
		c := &http.Client{Transport: &http.Transport{TLSClientConfig: cfg, DisableKeepAlives: true}}
		resp, err := c.Get(srv.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	for _, tc := range []struct {
		from       *pki.CA
		name, path string
		want       int
	}{
		{nil, "", "/metrics", 401}, {stranger, "admin", "/metrics", 401}, {ca, "monitor", "/metrics", 200}, {ca, "monitor", "/pods", 403},
		{ca, "admin", "/exec/a/b/c", 200}, {ca, "monitor", "/metrics", 200},
	} {
		if got := get(tc.from, tc.name, tc.path); got != tc.want {
			t.Errorf("%q %s: %d, want %d", tc.name, tc.path, got, tc.want)
		}
	}
	want := []string{"monitor get nodes/metrics n1", "monitor get nodes/pods n1", "monitor get nodes/proxy n1", "admin get nodes/proxy n1"}
	if !reflect.DeepEqual(api.asked, want) {
		t.Errorf("asked %q, want %q", api.asked, want)
	}
	auth.Anonymous = true
	if got := get(nil, "", "/metrics"); got != 403 {
		t.Errorf("anonymous: %d", got)
	}
}
