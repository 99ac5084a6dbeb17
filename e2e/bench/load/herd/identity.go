package herd

import (
	"context"
	"net/http"

	"k8s.io/client-go/transport"
)

type nodeKey struct{}

// as has the requests of a context made under a node's identity, where that is wanted.
func (h *Herd) as(ctx context.Context, n *node) context.Context {
	if !h.options.AsNodes {
		return ctx
	}
	return context.WithValue(ctx, nodeKey{}, n.name)
}

// impersonator sets the identity that a request's context asks for. Nodes share connections by it, as they could not with a
// certificate each.
type impersonator struct{ next http.RoundTripper }

func (i impersonator) RoundTrip(r *http.Request) (*http.Response, error) {
	name, ok := r.Context().Value(nodeKey{}).(string)
	if !ok {
		return i.next.RoundTrip(r)
	}
	r = r.Clone(r.Context())
	r.Header.Set(transport.ImpersonateUserHeader, "system:node:"+name)
	r.Header.Set(transport.ImpersonateGroupHeader, "system:nodes")
	return i.next.RoundTrip(r)
}
