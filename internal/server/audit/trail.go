package audit

import (
	"maps"
	"net/http"
	"slices"
	"sync"

	authnv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"k8s.io/apiserver/pkg/authentication/user"

	"hyperkube/internal/server/request"
)

// Trail is what is logged of one request.
type Trail struct {
	log *Log
	req *request.Request
	d   decision

	mu      sync.Mutex
	ev      auditv1.Event
	started bool
}

func newTrail(l *Log, req *request.Request, d decision, o Origin) *Trail {
	t := &Trail{log: l, req: req, d: d}
	t.ev = auditv1.Event{
		TypeMeta: metav1.TypeMeta{Kind: "Event", APIVersion: auditv1.SchemeGroupVersion.String()},
		Level:    d.level, AuditID: types.UID(req.AuditID), RequestURI: o.URI, Verb: req.Verb, SourceIPs: o.SourceIPs, UserAgent: req.UserAgent,
		RequestReceivedTimestamp: metav1.NewMicroTime(o.Received),
	}
	if req.User != nil {
		t.ev.User = userInfo(req.User)
	}
	if req.IsResourceRequest {
		t.ev.ObjectRef = &auditv1.ObjectReference{Resource: req.Resource, Namespace: req.Namespace, Name: req.Name,
			APIGroup: req.APIGroup, APIVersion: req.APIVersion, Subresource: req.Subresource}
	}
	return t
}

func userInfo(u user.Info) authnv1.UserInfo {
	out := authnv1.UserInfo{Username: u.GetName(), UID: u.GetUID(), Groups: slices.Clone(u.GetGroups())}
	if extra := u.GetExtra(); len(extra) > 0 {
		out.Extra = make(map[string]authnv1.ExtraValue, len(extra))
		for k, v := range extra {
			out.Extra[k] = slices.Clone(v)
		}
	}
	return out
}

// WantsRequest says whether the body of the request is to be logged.
func (t *Trail) WantsRequest() bool {
	return t != nil && (t.d.level == auditv1.LevelRequest || t.d.level == auditv1.LevelRequestResponse)
}

// WantsResponse says whether the body of the answer is to be logged.
func (t *Trail) WantsResponse() bool { return t != nil && t.d.level == auditv1.LevelRequestResponse }

// Request logs the request's body as JSON. The bytes belong to the trail.
func (t *Trail) Request(data []byte) {
	if !t.WantsRequest() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ev.RequestObject = t.unknown(data)
}

// Refers tells what object the request is about, where its path does not say it all.
func (t *Trail) Refers(obj metav1.Object) {
	if t == nil || obj == nil || t.req.Subresource != "" {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	ref := t.ev.ObjectRef
	if ref == nil {
		return
	}
	fill := func(into *string, v string) {
		if *into == "" {
			*into = v
		}
	}
	fill(&ref.Name, obj.GetName())
	fill(&ref.Namespace, obj.GetNamespace())
	fill((*string)(&ref.UID), string(obj.GetUID()))
	fill(&ref.ResourceVersion, obj.GetResourceVersion())
}

// Response logs the answer's body as JSON. The bytes belong to the trail.
func (t *Trail) Response(data []byte) {
	if !t.WantsResponse() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ev.ResponseObject = t.unknown(data)
}

// Status logs an answer that is a Status.
func (t *Trail) Status(s *metav1.Status) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ev.ResponseStatus = &metav1.Status{Status: s.Status, Message: s.Message, Reason: s.Reason, Details: s.Details, Code: s.Code}
}

func (t *Trail) unknown(data []byte) *runtime.Unknown {
	if t.d.omitManagedFields {
		data = withoutManagedFields(data)
	}
	return &runtime.Unknown{Raw: data, ContentType: runtime.ContentTypeJSON}
}

// Started says that the answer to a long request has begun.
func (t *Trail) Started(code int) {
	if t == nil {
		return
	}
	t.mu.Lock()
	t.setStatusLocked(code)
	first := !t.started
	t.started = true
	t.mu.Unlock()
	if first {
		t.emit(auditv1.StageResponseStarted)
	}
}

// End says that the request is over.
func (t *Trail) End(code int) {
	if t == nil {
		return
	}
	if t.req.LongRunning() {
		t.Started(code) // also where nothing was answered
	}
	t.setStatus(code)
	t.emit(auditv1.StageResponseComplete)
}

// Panicked says that the request is over in a way that nobody wants.
func (t *Trail) Panicked(why string) {
	if t == nil {
		return
	}
	s := t.setStatus(http.StatusInternalServerError)
	s.Status, s.Reason, s.Message = metav1.StatusFailure, metav1.StatusReasonInternalError, "APIServer panic'd: "+why
	t.emit(auditv1.StagePanic)
}

func (t *Trail) setStatus(code int) *metav1.Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.setStatusLocked(code)
}

func (t *Trail) setStatusLocked(code int) *metav1.Status {
	if code == 0 {
		code = http.StatusOK
	}
	s := metav1.Status{}
	if t.ev.ResponseStatus != nil {
		s = *t.ev.ResponseStatus // events that were sent already keep theirs
	}
	s.Code = int32(code)
	t.ev.ResponseStatus = &s
	return &s
}

// emit sends what is known by now.
func (t *Trail) emit(stage auditv1.Stage) bool {
	if slices.Contains(t.d.omit, stage) {
		return true
	}
	t.mu.Lock()
	ev := t.ev
	if ev.ObjectRef != nil {
		ref := *ev.ObjectRef
		ev.ObjectRef = &ref
	}
	t.mu.Unlock()
	ev.Stage = stage
	ev.StageTimestamp = metav1.NewMicroTime(t.log.now())
	if t.req.Impersonator != nil {
		as := userInfo(t.req.User)
		ev.ImpersonatedUser = &as
		if t.req.ImpersonationConstraint != "" {
			ev.AuthenticationMetadata = &auditv1.AuthenticationMetadata{ImpersonationConstraint: t.req.ImpersonationConstraint}
		}
	}
	if a := t.req.Annotations(); len(a) > 0 {
		ev.Annotations = maps.Clone(a)
	}
	return t.log.send(&ev)
}
