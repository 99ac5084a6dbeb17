package streams

import (
	"net/http"
	"strings"

	utilproxy "k8s.io/apimachinery/pkg/util/proxy"
)

// linkRewriter makes the links and redirects of proxied answers lead through the server again.
func linkRewriter(r *http.Request, prefix string, t http.RoundTripper) http.RoundTripper {
	if upgrading(r) {
		return t // upgraded connections are dialled through the transport itself
	}
	// Without a scheme and a host: whoever asks by another name of the server, or through a proxy, goes on by it.
	return &utilproxy.Transport{PathPrepend: strings.TrimSuffix(prefix, "/"), RoundTripper: t}
}

func upgrading(r *http.Request) bool {
	return strings.Contains(strings.ToLower(r.Header.Get("Connection")), "upgrade")
}
