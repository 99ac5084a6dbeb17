package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"

	"hyperkube/internal/object"
	"hyperkube/internal/server/registry"
	"hyperkube/internal/server/request"
)

// exchange is one HTTP request for a resource and its answer.
type exchange struct {
	s   *Server
	w   *response
	r   *http.Request
	req *request.Request
	t   registry.Target
	q   url.Values
}

// serve is the HTTP door: everything that concerns every request, resource or not.
func (s *Server) serve(rw http.ResponseWriter, r *http.Request) {
	grow()
	if s.turnAway(rw, r) {
		return
	}
	start := time.Now()
	req := &request.Request{Info: request.Parse(r), AuditID: auditID(r), UserAgent: r.UserAgent(), SourceIP: sourceIP(r), Unaudited: s.parts.Audit == nil}
	w := &response{ResponseWriter: rw, req: req}
	rw.Header().Set("Audit-Id", req.AuditID)
	rw.Header().Set("Cache-Control", "no-cache, private")
	long := req.LongRunning()
	ctx := request.With(r.Context(), req)
	cancel := context.CancelFunc(nil)
	if long {
		ctx, cancel = s.metrics.longRunning(ctx, req)
	} else {
		s.enter()
		defer s.leave()
		ctx, cancel = context.WithTimeout(ctx, s.timeout(r))
	}
	r = r.WithContext(ctx)
	if s.parts.Tracer != nil {
		var end func(code int)
		r, end = s.parts.Tracer.Begin(r, req)
		defer func() { end(w.code) }()
	}
	defer func() {
		p := recover()
		cancel()
		if w.code == 0 && p == nil {
			w.code = http.StatusOK // which the library says when nobody wrote anything
		}
		if p != nil && p != http.ErrAbortHandler {
			s.panicked(w, r, p)
		}
		if p == nil {
			w.trail.End(w.code)
		} else {
			w.trail.Panicked(fmt.Sprint(p))
		}
		s.metrics.observe(req, w.code, long, time.Since(start), w.sent)
		if p == http.ErrAbortHandler {
			panic(p) // net/http ends the connection quietly
		}
	}()
	s.pass(w, r, req, start)
}

// pass takes the request through authentication, flow control and authorization.
func (s *Server) pass(w *response, r *http.Request, req *request.Request, start time.Time) {
	origin := s.origin(r, start)
	if err := s.authenticate(r, req); err != nil {
		s.parts.Audit.Unauthenticated(req, origin, statusOf(err))
		sendStatus(w, r, err)
		return
	}
	var err error
	if w.trail, err = s.parts.Audit.Begin(req, origin); err == nil {
		if err = s.impersonate(r, req); err != nil {
			w.Header().Set("X-Content-Type-Options", "nosniff")
		}
	}
	if err != nil {
		sendStatus(w, r, err)
		return
	}
	if err := checkTimeout(r, req); err != nil {
		sendStatus(w, r, err)
		return
	}
	x := &exchange{s: s, w: w, r: r, req: req}
	done, err := s.admit(r.Context(), req)
	if err == nil {
		defer done()
		if err = s.authorize(r.Context(), req); err != nil {
			w.Header().Set("X-Content-Type-Options", "nosniff")
		}
	}
	if err != nil {
		sendStatus(w, r, err)
		return
	}
	if !req.IsResourceRequest {
		s.serveNonAPI(w, r, req)
		return
	}
	x.serve()
}

// authenticate finds out who asks.
func (s *Server) authenticate(r *http.Request, req *request.Request) error {
	if u, ok := r.Context().Value(insideKey{}).(user.Info); ok {
		req.User = u
		return nil
	}
	if s.parts.Authenticator == nil {
		req.User = &user.DefaultInfo{Name: user.Anonymous, Groups: []string{user.AllUnauthenticated}}
	} else {
		resp, ok, err := s.parts.Authenticator.AuthenticateRequest(r)
		if err != nil || !ok || resp == nil || resp.User == nil {
			if err != nil {
				s.log.Debug("request not authenticated", "path", req.Path, "source", req.SourceIP, "err", err)
			}
			return apierrors.NewUnauthorized("Unauthorized")
		}
		req.User = resp.User
		s.metrics.usage.user(resp.User.GetName())
		r.Header.Del("Authorization")
	}
	return nil
}

// impersonate gives the request the user that its headers name.
func (s *Server) impersonate(r *http.Request, req *request.Request) error {
	for h := range r.Header {
		if strings.HasPrefix(h, "Impersonate-") {
			if s.parts.Impersonate == nil {
				return apierrors.NewForbidden(schema.GroupResource{}, "", errors.New("impersonation is not enabled"))
			}
			return s.parts.Impersonate(r, req)
		}
	}
	return nil
}

// timeout of a request: what the client asks for, but not more than the server's.
func (s *Server) timeout(r *http.Request) time.Duration {
	if !strings.Contains(r.URL.RawQuery, "timeout=") {
		return s.cfg.RequestTimeout
	}
	d, err := time.ParseDuration(r.URL.Query().Get("timeout"))
	if err != nil || d <= 0 || d > s.cfg.RequestTimeout {
		return s.cfg.RequestTimeout
	}
	return d
}

// checkTimeout refuses a request that says in no words of ours how long it may take.
func checkTimeout(r *http.Request, req *request.Request) error {
	if req.LongRunning() || !strings.Contains(r.URL.RawQuery, "timeout=") {
		return nil
	}
	if text := r.URL.Query().Get("timeout"); text != "" {
		if _, err := time.ParseDuration(text); err != nil {
			return apierrors.NewBadRequest("invalid timeout specified in the request URL - " + err.Error())
		}
	}
	return nil
}

func (s *Server) panicked(w *response, r *http.Request, p any) {
	s.log.Error("request panicked", "method", r.Method, "path", r.URL.Path, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	if w.code == 0 && !w.hijacked {
		sendStatus(w, r, statusError(http.StatusInternalServerError, metav1.StatusReasonInternalError,
			"This request caused apiserver to panic. Look in the logs for details."))
	}
}

func auditID(r *http.Request) string {
	if id := r.Header.Get("Audit-Id"); id != "" && len(id) <= 128 {
		return id
	}
	return uuid.NewString()
}

func sourceIP(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	return host
}

// notFound is the answer for paths that nobody serves, which upstream gives as text, but as a Status below the groups of
// the built-in kinds.
func (s *Server) notFound(w http.ResponseWriter, r *http.Request) {
	if s.belowBuiltin(r.URL.Path) {
		sendStatus(w, r, errNotFound())
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusNotFound)
	_, _ = w.Write([]byte("404 page not found\n"))
}

func (s *Server) belowBuiltin(path string) bool {
	if strings.HasPrefix(path, "/api/") {
		return true
	}
	rest, ok := strings.CutPrefix(path, "/apis/")
	group, _, _ := strings.Cut(rest, "/")
	return ok && slices.ContainsFunc(s.cfg.Table.All(), func(k *object.Kind) bool {
		return k.Hub().Group == group && k.Hub().Custom == nil
	})
}
