package streams

import (
	"net/http"
	"strings"

	utilproxy "k8s.io/apimachinery/pkg/util/proxy"
)

// linkRewriter makes the links and redirects of proxied answers lead through the server again.
func linkRewriter(r *http.Request, prefix string, t http.RoundTripper) http.RoundTripper {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	if upgrading(r) {
		return t // upgraded connections are dialled through the transport itself
	}
	return &utilproxy.Transport{
		Scheme:       scheme,
		Host:         r.Host,
		PathPrepend:  strings.TrimSuffix(prefix, "/"),
		RoundTripper: t,
	}
}

func upgrading(r *http.Request) bool {
	return strings.Contains(strings.ToLower(r.Header.Get("Connection")), "upgrade")
}
