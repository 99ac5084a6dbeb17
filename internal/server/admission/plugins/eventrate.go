package plugins

import (
	"context"
	"fmt"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/lru"

	"golang.org/x/time/rate"

	"hyperkube/internal/server/admission"
)

// eventRate bounds how many events are taken each second: in all, of a namespace, of a user, or of one source about one object.
type eventRate struct{ limits []*rateLimit }

// rateLimit is one limit of the configuration, with a bucket for each key; those used least recently are forgotten.
type rateLimit struct {
	kind  string
	qps   rate.Limit
	burst int
	mu    sync.Mutex
	seen  *lru.Cache
}

const (
	limitServer    = "Server"
	limitNamespace = "Namespace"
	limitUser      = "User"
	limitSource    = "SourceAndObject"
	// usualKeys is how many keys a limit remembers that does not say.
	usualKeys = 4096
)

func newEventRate(c *Config) (*eventRate, error) {
	var doc struct {
		metav1.TypeMeta `json:",inline"`
		Limits          []struct {
			Type      string `json:"type"`
			QPS       int32  `json:"qps"`
			Burst     int32  `json:"burst"`
			CacheSize int32  `json:"cacheSize,omitempty"`
		} `json:"limits"`
	}
	if _, err := c.Settings.Decode("EventRateLimit", "eventratelimit.admission.k8s.io/v1alpha1", "Configuration", &doc); err != nil {
		return nil, err
	}
	p, at := &eventRate{}, field.NewPath("limits")
	var errs field.ErrorList
	if len(doc.Limits) == 0 {
		errs = append(errs, field.Required(at, "--admission-control-config-file must give the limits"))
	}
	for i, l := range doc.Limits {
		at := at.Index(i)
		switch l.Type {
		case limitServer, limitNamespace, limitUser, limitSource:
		default:
			errs = append(errs, field.NotSupported(at.Child("type"), l.Type, []string{limitNamespace, limitServer, limitSource, limitUser}))
		}
		if l.QPS <= 0 {
			errs = append(errs, field.Invalid(at.Child("qps"), l.QPS, "must be positive"))
		}
		if l.Burst <= 0 {
			errs = append(errs, field.Invalid(at.Child("burst"), l.Burst, "must be positive"))
		}
		if l.CacheSize < 0 {
			errs = append(errs, field.Invalid(at.Child("cacheSize"), l.CacheSize, "must not be negative"))
		}
		size := int(l.CacheSize)
		if size <= 0 {
			size = usualKeys
		}
		p.limits = append(p.limits, &rateLimit{kind: l.Type, qps: rate.Limit(l.QPS), burst: int(l.Burst), seen: lru.New(size)})
	}
	return p, errs.ToAggregate()
}

func (*eventRate) Name() string { return "EventRateLimit" }

func (p *eventRate) Validate(_ context.Context, a *admission.Attributes) error {
	if a.GVR.Resource != "events" || a.GVR.Group != "" && a.GVR.Group != eventsv1.GroupName || a.DryRun ||
		a.Operation != admission.Create && a.Operation != admission.Update {
		return nil
	}
	var refused []string
	for _, l := range p.limits {
		key := l.key(a)
		if !l.take(key) {
			refused = append(refused, fmt.Sprintf("limit reached on type %v for key %v", l.kind, key))
		}
	}
	if len(refused) == 0 {
		return nil
	}
	return apierrors.NewTooManyRequestsError(strings.Join(refused, ", "))
}

// take spends one token of the key's bucket.
func (l *rateLimit) take(key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	have, ok := l.seen.Get(key)
	bucket, _ := have.(*rate.Limiter)
	if !ok || bucket == nil {
		bucket = rate.NewLimiter(l.qps, l.burst)
		l.seen.Add(key, bucket)
	}
	return bucket.Allow()
}

// key says whose bucket a request spends from.
func (l *rateLimit) key(a *admission.Attributes) string {
	switch l.kind {
	case limitNamespace:
		return a.Namespace
	case limitUser:
		if a.User != nil {
			return a.User.GetName()
		}
	case limitSource:
		return sourceAndObject(a)
	}
	return ""
}

func sourceAndObject(a *admission.Attributes) string {
	var parts []string
	about := func(o corev1.ObjectReference) {
		parts = append(parts, o.Kind, o.Namespace, o.Name, string(o.UID), o.APIVersion)
	}
	switch e := a.Object.(type) {
	case *corev1.Event:
		parts = append(parts, e.Source.Component, e.Source.Host)
		about(e.InvolvedObject)
	case *eventsv1.Event:
		parts = append(parts, e.DeprecatedSource.Component, e.DeprecatedSource.Host)
		about(e.Regarding)
	}
	return strings.Join(parts, "")
}
