// Package registry is the part of the request pipeline behind authorization that both doors share: from a decoded object to
// the store and back. Admission, defaulting, preparation, validation, finalizers, graceful
// deletion, preconditions and dry runs happen here; bytes do not.
//
// Objects given to a write belong to the registry from the call on. Objects that come back may be
// shared with every reader of the cache and must not be changed. Objects are always of the hub version.
//
// A write of an existing object is attempted on the state that the cache knows; when another writer came first, the whole
// attempt (change, admission, validation) is made again on the newer state. Nothing is locked meanwhile.
package registry

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"hyperkube/internal/object"
	"hyperkube/internal/server/admission"
	"hyperkube/internal/server/apply"
	"hyperkube/internal/server/request"
	"hyperkube/internal/store"
)

// WriteHook sees each write of a kind after validation and just before it is stored, and may still change
// obj or refuse. It returns functions to call when the write was stored or was not; either may be nil.
// With dryRun nothing may be kept. old is nil on create; obj is nil on the final removal of an object.
type WriteHook func(ctx context.Context, obj, old object.Object, dryRun bool) (commit, rollback func(), err error)

// Config is what a registry is made of.
type Config struct {
	Store     *store.Store
	Admission *admission.Chain
	Hooks     map[schema.GroupResource]WriteHook
	// Followed is waited for when a write of a kind has been stored, before it is answered: until this server's own parts know of
	// the state of that revision.
	Followed map[schema.GroupResource]func(ctx context.Context, revision int64)
	// Charge, when set, is asked last of all about what a create or update takes of the namespace's quotas. refund is
	// called when the write was not stored after all.
	Charge func(ctx context.Context, t Target, obj, old object.Object, dryRun bool) (refund func(), err error)
	// Managers track who owns which field.
	Managers *apply.Managers
	// EventTTL is how long events are kept.
	EventTTL time.Duration
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// Registry reads and writes stored kinds. Safe for concurrent use.
type Registry struct {
	cfg Config
}

// New makes a registry.
func New(cfg Config) *Registry {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Managers == nil {
		cfg.Managers = apply.New()
	}
	return &Registry{cfg: cfg}
}

// Target is what a request is for.
type Target struct {
	Kind    *object.Kind
	Version *object.Version
	// Sub is nil for the object itself.
	Sub *object.Subresource
}

// GVK of the version asked for.
func (t Target) GVK() schema.GroupVersionKind { return t.Version.GroupVersion.WithKind(t.Version.Kind) }

// strategy that applies: a subresource prepares and judges by its own, and defaults as its parent.
func (t Target) strategy() object.Strategy {
	if t.Sub == nil && t.Version.Strategy != nil {
		return *t.Version.Strategy
	}
	if t.Sub == nil {
		return t.Kind.Strategy
	}
	s := t.Sub.Strategy
	s.Default = t.Kind.Default
	return s
}

// groupResource is the resource as the client named it, for what it is told.
func (t Target) groupResource() schema.GroupResource {
	return schema.GroupResource{Group: t.Version.Group, Resource: t.Kind.Resource}
}

func (t Target) subName() string {
	if t.Sub == nil {
		return ""
	}
	return t.Sub.Name
}

// Result is the outcome of a read or write: an entry of the store with its kept encodings, or an object alone.
type Result struct {
	Entry *store.Entry
	// Fresh is an object that is not stored: of a dry run, or made for the answer. Entry does not count then.
	Fresh   object.Object
	Created bool
	// Removed says that a deletion took the object away at once.
	Removed bool
}

// Object is what was read, written or made.
func (r Result) Object() object.Object {
	if r.Fresh != nil || r.Entry == nil {
		return r.Fresh
	}
	return r.Entry.Object()
}

func stored(e *store.Entry) Result { return Result{Entry: e} }

// known waits until the server's own parts know of a write.
func (r *Registry) known(ctx context.Context, k *object.Kind, e *store.Entry) {
	if wait := r.cfg.Followed[k.GroupResource()]; wait != nil {
		wait(ctx, e.Revision)
	}
}

// Collection of a kind.
func (r *Registry) Collection(k *object.Kind) *store.Collection { return r.cfg.Store.Collection(k) }

// Managers of the fields of objects.
func (r *Registry) Managers() *apply.Managers { return r.cfg.Managers }

// Store behind the registry.
func (r *Registry) Store() *store.Store { return r.cfg.Store }

// Get reads one object; rv as in GetOptions.
func (r *Registry) Get(ctx context.Context, k *object.Kind, key object.Key, rv string) (*store.Entry, error) {
	return r.Collection(k).Get(ctx, key, rv)
}

func (r *Registry) attributes(req *request.Request, t Target, op admission.Operation, obj, old object.Object, options runtime.Object, dryRun bool) *admission.Attributes {
	return &admission.Attributes{
		Operation: op, Row: t.Kind, GVK: t.GVK(), GVR: t.Version.GroupVersion.WithResource(t.Kind.Resource),
		Subresource: t.subName(), Namespace: req.Namespace, Name: req.Name,
		Object: obj, OldObject: old, Options: options, DryRun: dryRun,
		User: req.User, Warn: req.Warn, Annotate: req.Annotate, AuditsBodies: req.AuditsBodies,
	}
}

// admit runs the mutators; what they leave is defaulted again.
func (r *Registry) admit(ctx context.Context, a *admission.Attributes, s object.Strategy) error {
	if !r.cfg.Admission.Mutates() {
		return nil
	}
	managers := a.Object.GetManagedFields()
	if err := r.cfg.Admission.Mutate(ctx, a); err != nil {
		return err
	}
	keepManagers(a, managers)
	if s.Default != nil {
		s.Default(a.Object)
	}
	return nil
}

// IsDryRun says whether the options ask for a dry run.
func IsDryRun(flag []string) bool { return len(flag) > 0 }

// prepareWrite asks the kind's hook about a create or update, and then the quotas. tell is called in between: who cannot have what he
// asks for is not warned of it.
func (r *Registry) prepareWrite(ctx context.Context, t Target, obj, old object.Object, dryRun bool, tell func()) (commit, rollback func(), err error) {
	commit, rollback, err = r.hook(ctx, t.Kind, obj, old, dryRun)
	if err != nil {
		return commit, rollback, err
	}
	tell()
	if r.cfg.Charge == nil {
		return commit, rollback, nil
	}
	refund, err := r.cfg.Charge(ctx, t, obj, old, dryRun)
	if err != nil {
		rollback()
		return nothing, nothing, err
	}
	undo := rollback
	return commit, func() { refund(); undo() }, nil
}

func (r *Registry) hook(ctx context.Context, k *object.Kind, obj, old object.Object, dryRun bool) (commit, rollback func(), err error) {
	h := r.cfg.Hooks[k.GroupResource()]
	if h == nil {
		return nothing, nothing, nil
	}
	commit, rollback, err = h(ctx, obj, old, dryRun)
	if commit == nil {
		commit = nothing
	}
	if rollback == nil {
		rollback = nothing
	}
	return commit, rollback, err
}

func nothing() {}

func (r *Registry) ttl(k *object.Kind) time.Duration {
	if k.Resource == "events" && k.Hub().Group == "" {
		return r.cfg.EventTTL
	}
	return 0
}

func (r *Registry) now() metav1.Time { return metav1.NewTime(r.cfg.Now().Truncate(time.Second)) }
