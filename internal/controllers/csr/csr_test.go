package csr

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
	certv1 "k8s.io/api/certificates/v1"
)

func TestKubelet(t *testing.T) {
	node := func(change func(*x509.CertificateRequest)) *x509.CertificateRequest {
		r := &x509.CertificateRequest{Subject: pkix.Name{CommonName: "system:node:n", Organization: []string{"system:nodes"}}}
		if change != nil {
			change(r)
		}
		return r
	}
	ip := func(r *x509.CertificateRequest) { r.IPAddresses = []net.IP{net.IPv4(192, 0, 2, 1)} }
	client := []certv1.KeyUsage{certv1.UsageDigitalSignature, certv1.UsageKeyEncipherment, certv1.UsageClientAuth}
	server := []certv1.KeyUsage{certv1.UsageDigitalSignature, certv1.UsageServerAuth}
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"client":                {KubeletClient(node(nil), client), ""},
		"client without RSA":    {KubeletClient(node(nil), client[:0:0]), "usages did not contain digital signature"},
		"client with addresses": {KubeletClient(node(ip), client), "DNS, email, IP or URI"},
		"client of a user":      {KubeletClient(node(func(r *x509.CertificateRequest) { r.Subject.CommonName = "ann" }), client), "common name"},
		"client of masters": {KubeletClient(node(func(r *x509.CertificateRequest) {
			r.Subject.Organization = []string{"system:nodes", "system:masters"}
		}), client), "organization"},
		"client that serves": {KubeletClient(node(nil), append(client, certv1.UsageServerAuth)), `"server auth" is not allowed`},
		"server":             {KubeletServing(node(ip), server, "system:node:n"), ""},
		"server of another":  {KubeletServing(node(ip), server, "system:node:m"), "not the requesting user"},
		"server of nothing":  {KubeletServing(node(nil), server, "system:node:n"), "at least one DNS or IP"},
		"server with a URI": {KubeletServing(node(func(r *x509.CertificateRequest) {
			ip(r)
			r.URIs = []*url.URL{{Host: "x"}}
		}), server, "system:node:n"), "email and URI"},
		"server that calls": {KubeletServing(node(ip), append(server, certv1.UsageClientAuth), "system:node:n"), `"client auth" is not allowed`},
		"any client":        {Client(client), ""},
		"an authority":      {Client(append(client, certv1.UsageCertSign)), `"cert sign" is not allowed`},
	} {
		if c.want == "" {
			require.NoError(t, c.err, name)
			continue
		}
		require.ErrorContains(t, c.err, c.want, name)
	}
	require.Equal(t, "n", NodeOf("system:node:n"))
	require.Empty(t, NodeOf("ann"))
}
