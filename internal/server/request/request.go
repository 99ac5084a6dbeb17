// Package request says what a request to the API server is about, before anything is read from its body.
//
// [Parse] turns method, path and query into an [Info] by the API conventions. A [Request] is the Info together
// with what the pipeline learns on the way: the user, the audit id, warnings for the client. It is made once for
// each request by the door that the request came through and travels in the context ([With], [From]); one
// allocation carries all. The Info is not changed after the request was parsed; User is set by authentication
// before any other reader sees it. Warn and Annotate may be called from several goroutines.
package request

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"
)

// Info is what method, path and query say about a request.
type Info struct {
	// IsResourceRequest is false for paths such as /healthz, /version and /apis.
	IsResourceRequest bool
	// Verb is get, list, watch, create, update, patch, delete or deletecollection; for other requests than those for
	// resources, the method in lower case.
	Verb string
	Path string
	// WatchPath says that the path is one of the old ones that only watch: /api/v1/watch/….
	WatchPath bool

	APIPrefix   string // "api" or "apis"
	APIGroup    string
	APIVersion  string
	Namespace   string
	Resource    string
	Subresource string
	Name        string
	// Tail is the rest of the path behind the subresource, without a leading slash: what a proxy passes on.
	Tail string

	// FieldSelector and LabelSelector are the raw selectors of a list, watch or deletecollection, for authorizers.
	FieldSelector, LabelSelector string
	// Limit is how many objects a list gives at most; 0: all.
	Limit int64
}

// GVR is the resource in the version asked for.
func (i *Info) GVR() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: i.APIGroup, Version: i.APIVersion, Resource: i.Resource}
}

// GroupResource is the resource without its version.
func (i *Info) GroupResource() schema.GroupResource {
	return schema.GroupResource{Group: i.APIGroup, Resource: i.Resource}
}

// ReadOnly says whether the verb changes nothing.
func (i *Info) ReadOnly() bool {
	return i.Verb == "get" || i.Verb == "list" || i.Verb == "watch" || i.Verb == "head"
}

// LongRunning says whether the request may stay open without limit: watches and the streaming subresources.
func (i *Info) LongRunning() bool {
	if i.Verb == "watch" || i.Verb == "proxy" {
		return true
	}
	switch i.Subresource {
	case "proxy", "exec", "attach", "portforward", "log":
		return i.IsResourceRequest
	}
	return false
}

// Request is one request on its way through the pipeline.
type Request struct {
	Info
	// User is who asks; nil until authentication.
	User user.Info
	// Impersonator is who really asks, where User is impersonated; nil otherwise.
	Impersonator user.Info
	AuditID      string
	UserAgent    string
	// SourceIP is the address of the client, empty for the direct door.
	SourceIP string
	// Direct says that the request came through the direct door.
	Direct bool
	// ImpersonationConstraint is the verb of the constrained right by which User is impersonated; empty otherwise.
	ImpersonationConstraint string
	// AuditsBodies says that the audit log tells bodies of this request. Set before authorization.
	AuditsBodies bool
	// FlowSchemaUID and PriorityLevelUID name what flow control sorted the request into; empty: it was not asked.
	FlowSchemaUID, PriorityLevelUID string
	// Unaudited says that nobody will read the audit annotations.
	Unaudited bool

	aside       atomic.Int64
	mu          sync.Mutex
	warnings    []string
	annotations map[string]string
}

// Warn adds a text for the Warning header. The same text twice is sent once.
func (r *Request) Warn(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range r.warnings {
		if w == text {
			return
		}
	}
	r.warnings = append(r.warnings, text)
}

// Warnings are the texts added until now.
func (r *Request) Warnings() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.warnings
}

// Aside notes time in which the request waited for others: its turn, or a webhook. Objectives for the server's speed do not count it.
func (r *Request) Aside(d time.Duration) { r.aside.Add(int64(d)) }

// Waited is the time noted so.
func (r *Request) Waited() time.Duration { return time.Duration(r.aside.Load()) }

// Annotate adds an annotation to the audit event of the request.
func (r *Request) Annotate(key, value string) {
	if r.Unaudited {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.annotations == nil {
		r.annotations = map[string]string{}
	}
	r.annotations[key] = value
}

// Annotations is a copy of the audit annotations.
func (r *Request) Annotations() map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make(map[string]string, len(r.annotations))
	for k, v := range r.annotations {
		out[k] = v
	}
	return out
}

type contextKey struct{}

// With puts the request into the context.
func With(ctx context.Context, r *Request) context.Context {
	return context.WithValue(ctx, contextKey{}, r)
}

// From takes the request out of the context; nil when there is none.
func From(ctx context.Context) *Request {
	r, _ := ctx.Value(contextKey{}).(*Request)
	return r
}

// UserFrom is the user of the request in the context; nil when there is none.
func UserFrom(ctx context.Context) user.Info {
	if r := From(ctx); r != nil {
		return r.User
	}
	return nil
}
