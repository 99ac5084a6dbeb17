package join

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	bootstrapapi "k8s.io/cluster-bootstrap/token/api"
	"k8s.io/cluster-bootstrap/token/jws"

	"hyperkube/internal/pki"
	"hyperkube/internal/tokens"
)

// publisher serves a cluster-info signed with token, by a certificate of serving, telling of ca.
func publisher(t *testing.T, ca, serving *pki.CA, token tokens.Bootstrap) string {
	t.Helper()
	cert, err := serving.IssueTLS(pki.Request{CommonName: "server", IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	content, err := Info("https://elsewhere:6443", ca.Cert)
	if err != nil {
		t.Fatal(err)
	}
	signature, err := jws.ComputeDetachedSignature(content, token.ID, token.Secret)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != infoPath {
			http.NotFound(w, r)
			return
		}
		_ = json.NewEncoder(w).Encode(corev1.ConfigMap{Data: map[string]string{
			bootstrapapi.KubeConfigKey:                    content,
			bootstrapapi.JWSSignatureKeyPrefix + token.ID: signature,
		}})
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL
}

func TestDiscover(t *testing.T) {
	ca, err := pki.NewCA("cluster", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	other, err := pki.NewCA("other", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	token := tokens.Bootstrap{ID: "abcdef", Secret: "0123456789abcdef"}
	good := publisher(t, ca, ca, token)
	for name, c := range map[string]struct {
		server string
		token  tokens.Bootstrap
		pins   []string
		want   string
	}{
		"good":              {good, token, nil, ""},
		"pinned":            {good, token, []string{ca.Hash()}, ""},
		"other pin":         {good, token, []string{other.Hash()}, "none of those pinned"},
		"wrong secret":      {good, tokens.Bootstrap{ID: "abcdef", Secret: "ffffffffffffffff"}, nil, "not signed with this token"},
		"unknown token":     {good, tokens.Bootstrap{ID: "ffffff", Secret: "ffffffffffffffff"}, nil, "has expired"},
		"other certificate": {publisher(t, ca, other, token), token, nil, "does not hold a certificate"},
		"not https":         {"http://127.0.0.1:1", token, nil, "https://HOST:PORT"},
		"nobody there":      {"https://127.0.0.1:1", token, nil, "refused"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Discover(context.Background(), c.server, c.token, c.pins)
			switch {
			case c.want == "" && (err != nil || got.Server != c.server || !strings.Contains(string(got.CA), "CERTIFICATE")):
				t.Fatal(got, err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Fatalf("%v, want %q", err, c.want)
			}
		})
	}
}
