package server

import (
	"strings"
	"sync"

	"hyperkube/internal/server/request"
)

// watchers counts open watches by what they look at, so that it is known how many are told of a write before it is done.
type watchers struct {
	mu sync.Mutex
	by map[watched]int
}

// watched is what a watch looks at: a whole resource, a namespace of it, or an object, those by the node that they select apart.
type watched struct {
	group, resource, namespace, name string
	byNode                           bool
}

// add counts the request, if it is a watch.
func (w *watchers) add(req *request.Request, n int) {
	if req.Verb != "watch" || !req.IsResourceRequest {
		return
	}
	k := watched{req.APIGroup, req.Resource, req.Namespace, req.Name, strings.Contains(req.FieldSelector, "spec.nodeName=")}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.by == nil {
		w.by = map[watched]int{}
	}
	if w.by[k] += n; w.by[k] <= 0 {
		delete(w.by, k)
	}
}

// told is how many watches are told of a write. Of those by the node, each write is for one.
func (w *watchers) told(req *request.Request) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	k := watched{group: req.APIGroup, resource: req.Resource}
	n := w.by[k]
	one := func(k watched) {
		k.byNode = true
		n += min(w.by[k], 1)
	}
	one(k)
	if k.namespace = req.Namespace; k.namespace != "" {
		n += w.by[k]
		one(k)
	}
	if k.name = req.Name; k.name != "" {
		n += w.by[k]
		if k.namespace != "" {
			k.namespace = ""
			n += w.by[k]
		}
	}
	return n
}

// Watchers tells how many open watches a write is told to.
func (s *Server) Watchers(req *request.Request) int { return s.metrics.watchers.told(req) }
