package server

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/validation/path"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"hyperkube/internal/object"
	"hyperkube/internal/server/authz"
	"hyperkube/internal/server/registry"
	"hyperkube/internal/server/request"
)

// admit is flow control: it lets the request in or fails. The function it gives is called when the request has ended.
func (s *Server) admit(ctx context.Context, req *request.Request) (func(), error) {
	gauge := &s.inflight.mutating
	if req.ReadOnly() {
		gauge = &s.inflight.reading
	}
	if s.parts.FlowControl != nil {
		done, err := s.parts.FlowControl(ctx, req)
		if err != nil || req.LongRunning() || req.Direct {
			if done == nil {
				done = func() {}
			}
			return done, err
		}
		gauge.now.Add(1)
		return func() {
			gauge.leave()
			if done != nil {
				done()
			}
		}, nil
	}
	// Roles of this process bound their own concurrency, and their refusal would only make them ask again.
	if req.LongRunning() || req.Direct || privileged(req) {
		return func() {}, nil
	}
	if !gauge.enter() {
		return func() {}, apierrors.NewTooManyRequests("Too many requests, please try again later.", 1)
	}
	return gauge.leave, nil
}

// gauge counts the requests in flight up to a limit.
type gauge struct {
	now   atomic.Int64
	limit int64
}

func (g *gauge) enter() bool {
	if g.now.Add(1) > g.limit {
		g.now.Add(-1)
		return false
	}
	return true
}

func (g *gauge) leave() { g.now.Add(-1) }

func privileged(req *request.Request) bool {
	for _, g := range req.User.GetGroups() {
		if g == "system:masters" {
			return true
		}
	}
	return false
}

// authorize asks whether the user may do what the request says.
func (s *Server) authorize(ctx context.Context, req *request.Request) error {
	err := s.authorizeAs(ctx, request.Attributes{Request: req}, req)
	if err == nil && entersPod(req) {
		err = s.authorizeAs(ctx, verbAs{request.Attributes{Request: req}, "create"}, req)
	}
	return err
}

// entersPod tells whether a read in name only opens a way into a pod: a WebSocket begins with a GET. Whoever may only look must
// not come in by it, so that it takes the right to create as well (KEP-4006).
func entersPod(req *request.Request) bool {
	if req.Verb != "get" || req.Resource != "pods" || req.APIGroup != "" || !req.IsResourceRequest {
		return false
	}
	return req.Subresource == "exec" || req.Subresource == "attach" || req.Subresource == "portforward"
}

func (s *Server) authorizeAs(ctx context.Context, a authorizer.Attributes, req *request.Request) error {
	if s.parts.Authorizer == nil {
		return nil
	}
	start := time.Now()
	decision, reason, err := s.parts.Authorizer.Authorize(ctx, a)
	s.metrics.authorized.observe(start, decision, err)
	if decision == authorizer.DecisionAllow {
		req.Annotate("authorization.k8s.io/decision", "allow")
		req.Annotate("authorization.k8s.io/reason", reason)
		return nil
	}
	if err != nil {
		req.Annotate("authorization.k8s.io/reason", "internal error")
		return apierrors.NewInternalError(err)
	}
	req.Annotate("authorization.k8s.io/decision", "forbid")
	req.Annotate("authorization.k8s.io/reason", reason)
	if !a.IsResourceRequest() {
		err := authz.Forbidden(a, reason)
		err.ErrStatus.Message = "forbidden: " + authz.Message(a)
		if reason != "" {
			err.ErrStatus.Message += ": " + reason
		}
		return err
	}
	return authz.Forbidden(a, reason)
}

// verbAs is the request with another verb, that of a write: for updates that turn out to create, and streams.
type verbAs struct {
	request.Attributes
	verb string
}

func (v verbAs) GetVerb() string  { return v.verb }
func (v verbAs) IsReadOnly() bool { return false }

// target finds the row and the version that a request is for, and checks that they serve it.
func (s *Server) target(req *request.Request) (registry.Target, error) {
	k, v := s.cfg.Table.Resource(req.GVR())
	if k == nil || v == nil || req.Verb == "proxy" {
		return registry.Target{}, errNoRow
	}
	t := registry.Target{Kind: k, Version: v}
	if msgs := path.IsValidPathSegmentName(req.Name); len(msgs) > 0 {
		return t, apierrors.NewBadRequest(fmt.Sprintf("Name parameter invalid: %q: %s", req.Name, strings.Join(msgs, ";")))
	}
	if k.Scope == object.Cluster && req.Namespace != "" && k.Resource != "namespaces" {
		return t, errNoRow
	}
	if req.WatchPath && req.Verb != "watch" {
		return t, errMethod(k, req.Verb)
	}
	if v.Custom != nil {
		if err := customRoute(req, t); err != nil {
			return t, err
		}
	}
	if req.Subresource == "" {
		if v.Custom != nil && req.Verb == "create" && req.Name != "" {
			return t, nil // what is made is what the body names
		}
		if !k.Serves(req.Verb) || (req.Verb == "create" && req.Name != "") || (req.Verb != "create" && needsName(req.Verb) && req.Name == "") {
			return t, errMethod(k, req.Verb)
		}
	} else {
		if t.Sub = k.SubresourceIn(v, req.Subresource); t.Sub == nil {
			return t, errNoRow
		}
		if req.Tail != "" && t.Sub.Name != "proxy" && v.Custom == nil {
			return t, errNoRow
		}
		if !subServes(t.Sub, req.Verb) {
			return t, errMethod(k, req.Verb)
		}
	}
	// Clients delete collections of one namespace; roles of this process (the end of a definition) those of all.
	everywhere := req.Verb == "list" || req.Verb == "watch" || req.Direct && req.Verb == "deletecollection"
	if k.Scope == object.Namespaced && req.Namespace == "" && !everywhere {
		if req.Name != "" || k.Hub().Custom != nil {
			return t, errNoRow
		}
		return t, errMethod(k, req.Verb)
	}
	return t, nil
}

// customRoute refuses what has a path of custom resources but cannot be served. They have no routes of their own: whatever comes is looked at by the
// parts of its path.
func customRoute(req *request.Request, t registry.Target) error {
	if t.Kind.Scope == object.Namespaced && req.Namespace == "" {
		return nil
	}
	switch {
	case req.Subresource != "" && t.Kind.SubresourceIn(t.Version, req.Subresource) == nil:
		return apierrors.NewNotFound(t.Kind.GroupResource(), req.Name)
	case req.Subresource == "" && req.Name == "" && (req.Verb == "update" || req.Verb == "patch"):
		return apierrors.NewBadRequest("name must be provided")
	}
	return nil
}

// errNoRow says that no row serves the path; the door decides what to make of it.
var errNoRow = statusError(http.StatusNotFound, metav1.StatusReasonNotFound, "the server could not find the requested resource")

func needsName(verb string) bool {
	switch verb {
	case "get", "update", "patch", "delete":
		return true
	}
	return false
}

func subServes(sub *object.Subresource, verb string) bool {
	if sub.Name == "proxy" && verb == "options" { // not a verb of resources, but one that a proxy passes on
		return true
	}
	for _, v := range sub.Verbs {
		if v == verb {
			return true
		}
	}
	return false
}

// handler of a subresource or virtual kind that is not plain storage; nil for plain storage.
func (s *Server) handler(t registry.Target, sub string) *SubresourceHandler {
	m := s.parts.Subresources[t.Kind.GroupResource()]
	if h, ok := m[sub]; ok {
		return &h
	}
	if sub == "scale" && t.Kind.Scale != nil {
		h := s.scaleHandler(t.Version.Group, t.Kind.Resource)
		return &h
	}
	return nil
}

// plainStorage says whether a target without a handler is served by the registry.
func plainStorage(t registry.Target) bool {
	if t.Sub == nil {
		return !t.Kind.Virtual
	}
	return t.Sub.GroupVersionKind.Empty()
}

// bodyKind is the kind of body that a subresource handler takes.
func bodyKind(t registry.Target) schema.GroupVersionKind {
	if t.Sub != nil && !t.Sub.GroupVersionKind.Empty() {
		return t.Sub.GroupVersionKind
	}
	return t.GVK()
}
