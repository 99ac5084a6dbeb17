package server

import (
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"hyperkube/internal/object"
	"hyperkube/internal/server/admission"
	"hyperkube/internal/server/decode"
	"hyperkube/internal/server/encode"
	"hyperkube/internal/server/registry"
	"hyperkube/internal/server/request"
	"hyperkube/internal/store"
)

// outcome is what a verb gives: an object of the row, or one of a handler with a kind of its own.
type outcome struct {
	registry.Result
	// foreign is set when the object is not of the row's kind: Scale, TokenRequest, Status…
	foreign bool
	// status is set when the answer is a Status of success: bindings, evictions; details are what it tells more.
	status  bool
	details *metav1.StatusDetails
}

// errNoHandler is for subresources that the table has but that nobody plugged in.
func errNoHandler(t registry.Target, req *request.Request) error {
	name := req.Resource
	if req.Subresource != "" {
		name += "/" + req.Subresource
	}
	return statusError(501, metav1.StatusReasonMethodNotAllowed, fmt.Sprintf("%s of %s is not available on this server", name, t.Kind.Hub().GroupVersion))
}

func (s *Server) get(ctx context.Context, req *request.Request, t registry.Target, o *metav1.GetOptions) (outcome, error) {
	if h := s.handler(t, req.Subresource); h != nil {
		if h.Get == nil {
			return outcome{}, errMethod(t.Kind, req.Verb)
		}
		obj, err := h.Get(ctx, req, *o)
		return s.handled(t, obj, err)
	}
	if !plainStorage(t) {
		return outcome{}, errNoHandler(t, req)
	}
	e, err := s.registry.Get(ctx, t.Kind, object.Key{Namespace: req.Namespace, Name: req.Name}, o.ResourceVersion)
	if err != nil {
		return outcome{}, err
	}
	return outcome{Result: registry.Result{Entry: e}}, nil
}

// handled makes an outcome of a handler's object.
func (s *Server) handled(t registry.Target, obj object.Object, err error) (outcome, error) {
	if err != nil {
		return outcome{}, err
	}
	if obj == nil {
		return outcome{status: true}, nil
	}
	own := encode.KindOf(obj) == t.Kind.GroupVersionKind()
	return outcome{Result: registry.Result{Fresh: obj}, foreign: !own}, nil
}

// expect says what a create or update of the target takes.
func (s *Server) expect(req *request.Request, t registry.Target) decode.Expect {
	want := decode.ExpectVersion(t.Version)
	if h := s.handler(t, req.Subresource); h != nil && h.New != nil {
		proto := h.New()
		return decode.Expect{GroupVersionKind: encode.KindOf(proto), New: func() runtime.Object { return h.New() }}
	}
	return want
}

// create takes an object of the version asked for; it belongs to the server from the call on.
func (s *Server) create(ctx context.Context, req *request.Request, t registry.Target, obj object.Object, o *metav1.CreateOptions) (outcome, error) {
	if h := s.handler(t, req.Subresource); h != nil {
		if h.Create == nil {
			return outcome{}, errMethod(t.Kind, req.Verb)
		}
		return s.createByHandler(ctx, req, t, h, obj, o)
	}
	if !plainStorage(t) || t.Sub != nil {
		return outcome{}, errNoHandler(t, req)
	}
	hub, err := toHub(t.Version, obj)
	if err != nil {
		return outcome{}, err
	}
	res, err := s.registry.Create(ctx, req, t, hub, o)
	return outcome{Result: res}, err
}

// createByHandler runs admission around a handler: bindings, evictions, token requests, reviews.
func (s *Server) createByHandler(ctx context.Context, req *request.Request, t registry.Target, h *SubresourceHandler, obj object.Object, o *metav1.CreateOptions) (outcome, error) {
	if obj.GetNamespace() == "" && t.Kind.Scope == object.Namespaced {
		obj.SetNamespace(req.Namespace)
	}
	if t.Kind.Scope == object.Namespaced && obj.GetNamespace() != req.Namespace {
		return outcome{}, apierrors.NewBadRequest("the namespace of the provided object does not match the namespace sent on the request")
	}
	if t.Kind.Virtual {
		if t.Kind.Default != nil {
			t.Kind.Default(obj)
		}
		var err error
		if obj, err = s.registry.Received(req, t, obj, o); err != nil {
			return outcome{}, err
		}
	}
	a := s.subAttributes(req, t, admission.Create, obj, nil, o, registry.IsDryRun(o.DryRun))
	if err := s.parts.Admission.Mutate(ctx, a); err != nil {
		return outcome{}, err
	}
	if err := s.parts.Admission.Validate(ctx, a); err != nil {
		return outcome{}, err
	}
	out, err := h.Create(ctx, req, a.Object, *o)
	return s.handled(t, out, err)
}

func (s *Server) subAttributes(req *request.Request, t registry.Target, op admission.Operation, obj, old object.Object, o runtime.Object, dryRun bool) *admission.Attributes {
	return &admission.Attributes{
		Operation: op, Row: t.Kind, GVK: bodyKind(t), GVR: req.GVR(), Subresource: req.Subresource,
		Namespace: req.Namespace, Name: req.Name, Object: obj, OldObject: old, Options: o, DryRun: dryRun,
		User: req.User, Warn: req.Warn, Annotate: req.Annotate, AuditsBodies: req.AuditsBodies,
	}
}

// AdmitConnect runs admission for a streaming subresource; options are its connect options.
func (s *Server) AdmitConnect(ctx context.Context, req *request.Request, options runtime.Object) error {
	k, v := s.cfg.Table.Resource(req.GVR())
	if k == nil || v == nil {
		return errNoRow
	}
	a := s.subAttributes(req, registry.Target{Kind: k, Version: v, Sub: k.SubresourceIn(v, req.Subresource)}, admission.Connect, nil, nil, options, false)
	if err := s.parts.Admission.Mutate(ctx, a); err != nil {
		return err
	}
	return s.parts.Admission.Validate(ctx, a)
}

// update takes an object of the version asked for; it belongs to the server from the call on.
func (s *Server) update(ctx context.Context, req *request.Request, t registry.Target, obj object.Object, o *metav1.UpdateOptions) (outcome, error) {
	if h := s.handler(t, req.Subresource); h != nil {
		if h.Update == nil {
			return outcome{}, errMethod(t.Kind, req.Verb)
		}
		out, err := h.Update(ctx, req, obj, *o)
		return s.handled(t, out, err)
	}
	if !plainStorage(t) {
		return outcome{}, errNoHandler(t, req)
	}
	hub, err := toHub(t.Version, obj)
	if err != nil {
		return outcome{}, err
	}
	change := func(*store.Entry) (object.Object, error) {
		// An attempt changes its object, and there may be another attempt after it.
		return hub.DeepCopyObject().(object.Object), nil
	}
	uo := registry.UpdateOptions{DryRun: registry.IsDryRun(o.DryRun), Options: o, Manager: o.FieldManager}
	if t.Kind.CreateOnUpdate && t.Sub == nil {
		uo.CreateOptions = &metav1.CreateOptions{TypeMeta: metav1.TypeMeta{Kind: "CreateOptions", APIVersion: "meta.k8s.io/v1"},
			DryRun: o.DryRun, FieldManager: o.FieldManager, FieldValidation: o.FieldValidation}
		uo.Authorize = func() error {
			return s.authorizeAs(ctx, verbAs{request.Attributes{Request: req}, "create"}, req)
		}
	}
	res, err := s.registry.Update(ctx, req, t, object.Key{Namespace: req.Namespace, Name: req.Name}, change, uo)
	return outcome{Result: res}, err
}

// delete removes an object or marks it for deletion.
func (s *Server) delete(ctx context.Context, req *request.Request, t registry.Target, o *metav1.DeleteOptions) (outcome, error) {
	if t.Sub != nil || t.Kind.Virtual {
		return outcome{}, errMethod(t.Kind, req.Verb)
	}
	key := object.Key{Namespace: req.Namespace, Name: req.Name}
	if ptr.Deref(o.IgnoreStoreReadErrorWithClusterBreakingPotential, false) {
		return s.deleteUnreadable(ctx, req, t, key, o)
	}
	res, err := s.registry.Delete(ctx, req, t, key, o)
	return outcome{Result: res}, err
}

// deleteUnreadable removes what cannot be read from the datastore (KEP-3926), which takes a right of its own. Admission, finalizers and hooks
// are passed over, as there is no object that they could look at.
func (s *Server) deleteUnreadable(ctx context.Context, req *request.Request, t registry.Target, key object.Key, o *metav1.DeleteOptions) (outcome, error) {
	if err := s.authorizeAs(ctx, verbAs{request.Attributes{Request: req}, "unsafe-delete-ignore-read-errors"}, req); err != nil {
		return outcome{}, err
	}
	if err := s.registry.Collection(t.Kind).DeleteUnreadable(ctx, key, registry.IsDryRun(o.DryRun)); err != nil {
		return outcome{}, err
	}
	return outcome{status: true, details: &metav1.StatusDetails{Name: key.Name, Kind: t.Version.Kind}}, nil
}

// listOptions checks the options of a list or watch and translates the selectors.
func (s *Server) listOptions(req *request.Request, t registry.Target, o *metav1.ListOptions) (store.ListOptions, error) {
	if err := decode.CheckList(o, req.Verb == "watch"); err != nil {
		return store.ListOptions{}, err
	}
	l, f, err := decode.Selectors(t.Kind, t.Version, o.LabelSelector, o.FieldSelector)
	if err != nil {
		return store.ListOptions{}, err
	}
	lo := store.ListOptions{
		Namespace: req.Namespace, Label: l, Field: f, ResourceVersion: o.ResourceVersion,
		Match: o.ResourceVersionMatch, Limit: o.Limit, Continue: o.Continue,
	}
	if t.Kind.Scope == object.Cluster {
		lo.Namespace = ""
	}
	return lo, nil
}

func (s *Server) list(ctx context.Context, req *request.Request, t registry.Target, o *metav1.ListOptions) (*store.Page, error) {
	lo, err := s.listOptions(req, t, o)
	if err != nil {
		return nil, err
	}
	return s.registry.Collection(t.Kind).List(ctx, lo)
}

func (s *Server) watch(ctx context.Context, req *request.Request, t registry.Target, o *metav1.ListOptions) (*store.Watcher, error) {
	lo, err := s.listOptions(req, t, o)
	if err != nil {
		return nil, err
	}
	name := ""
	if o.FieldSelector == "" {
		name = req.Name // the old /watch/…/<name> paths
	}
	return s.registry.Collection(t.Kind).Watch(ctx, store.WatchOptions{
		Namespace: lo.Namespace, Name: name, Label: lo.Label, Field: lo.Field, ResourceVersion: o.ResourceVersion,
		Bookmarks: o.AllowWatchBookmarks, SendInitialEvents: o.SendInitialEvents,
	})
}

func toHub(v *object.Version, obj object.Object) (object.Object, error) {
	if v.ToHub == nil {
		return obj, nil
	}
	hub, err := v.ToHub(obj)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	return hub, nil
}

func fromHub(v *object.Version, obj object.Object) (object.Object, error) {
	if v.FromHub == nil {
		return obj, nil
	}
	return v.FromHub(obj)
}

// patchTypes that a target takes, for the text of a refusal.
func patchTypes(custom bool) []string {
	all := []string{string(types.JSONPatchType), string(types.MergePatchType), string(types.StrategicMergePatchType), string(types.ApplyYAMLPatchType)}
	if custom {
		return slices.Delete(all, 2, 3)
	}
	return all
}
