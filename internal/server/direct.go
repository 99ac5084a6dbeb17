package server

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/authentication/user"

	"hyperkube/internal/client"
	"hyperkube/internal/object"
	"hyperkube/internal/object/codec"
	"hyperkube/internal/server/audit"
	"hyperkube/internal/server/decode"
	"hyperkube/internal/server/encode"
	"hyperkube/internal/server/registry"
	"hyperkube/internal/server/request"
	"hyperkube/internal/store"
)

// Direct is the door for roles of the same process: the whole pipeline behind authentication under the given identity.
// Objects that come out are shared; those that go in are copied.
func (s *Server) Direct(u user.Info) client.Interface { return &routed{direct: &direct{s: s, user: u}} }

// agentOf is the program behind an identity of this process, by the name under which it sends requests where it is a program of its own.
func agentOf(u user.Info) string {
	name := u.GetName()
	switch {
	case name == loopback().GetName():
		return "kube-apiserver"
	case strings.HasPrefix(name, "system:node:"):
		return "kubelet"
	case strings.HasPrefix(name, "system:serviceaccount:kube-system:"):
		return "kube-controller-manager/" + strings.TrimPrefix(name, "system:serviceaccount:kube-system:")
	}
	return strings.TrimPrefix(name, "system:")
}

type direct struct {
	s    *Server
	user user.Info
}

// call is one request through the direct door.
type call struct {
	s    *Server
	ctx  context.Context
	req  *request.Request
	t    registry.Target
	done func(err *error)
	// trail is nil when nothing is logged.
	trail *audit.Trail
}

// begin makes the request and takes it through flow control and authorization. Unless it fails, the caller
// defers done with the address of its error.
func (d *direct) begin(ctx context.Context, verb string, r client.GVR, namespace, name string, sub []string) (*call, error) {
	return d.beginSelected(ctx, verb, r, namespace, name, sub, &metav1.ListOptions{})
}

// beginSelected is begin for verbs that select objects, which authorizers look at.
func (d *direct) beginSelected(ctx context.Context, verb string, r client.GVR, namespace, name string, sub []string, o *metav1.ListOptions) (*call, error) {
	start := time.Now()
	req := &request.Request{
		Info: request.Info{
			IsResourceRequest: true, Verb: verb, APIGroup: r.Group, APIVersion: r.Version, Resource: r.Resource,
			Subresource: strings.Join(sub, "/"), Namespace: namespace, Name: name,
		},
		User: d.user, AuditID: "", UserAgent: agentOf(d.user), Direct: true, Unaudited: d.s.parts.Audit == nil,
	}
	if r.Resource == "namespaces" && r.Group == "" {
		req.Namespace = name
	}
	req.Select(o.FieldSelector, o.LabelSelector)
	c := &call{s: d.s, ctx: request.With(ctx, req), req: req}
	var err error
	if d.s.parts.Audit != nil {
		req.AuditID = uuid.NewString()
		if c.trail, err = d.s.parts.Audit.Begin(req, directOrigin(req, start)); err != nil {
			return nil, apierrors.NewInternalError(err)
		}
	}
	leave := func() {}
	c.done = func(err *error) {
		leave()
		code := 200
		if *err != nil {
			s := statusOf(*err)
			code = int(s.Code)
			c.trail.Status(s)
		}
		if verb == "watch" && *err == nil {
			c.trail.Started(code) // it goes on
		} else {
			c.trail.End(code)
		}
		d.s.metrics.observe(req, code, verb == "watch", time.Since(start), -1)
	}
	if leave, err = d.s.admit(c.ctx, req); err == nil {
		if err = d.s.authorize(c.ctx, req); err == nil {
			c.t, err = d.s.target(req)
		}
	}
	if leave == nil {
		leave = func() {}
	}
	if err != nil {
		if err == errNoRow {
			err = errNotServed(r.String())
		}
		c.done(&err)
		return nil, err
	}
	return c, nil
}

// result gives the outcome in the version asked for.
func (c *call) result(out outcome, err error) (client.Object, error) {
	if err != nil {
		return nil, err
	}
	obj := out.Object()
	if !out.foreign {
		if obj, err = fromHub(c.t.Version, obj); err != nil {
			return nil, err
		}
	}
	c.auditResult(obj)
	return obj, nil
}

// own copies an object that goes in and checks that it is of the kind that the target takes.
func (c *call) own(obj client.Object) (object.Object, error) {
	mine, err := c.copied(obj)
	if err == nil {
		c.auditBody(mine)
	}
	return mine, err
}

func (c *call) copied(obj client.Object) (object.Object, error) {
	want := c.s.expect(c.req, c.t)
	if u, ok := obj.(*unstructured.Unstructured); ok {
		if got := u.GroupVersionKind(); got != want.GroupVersionKind {
			return nil, wrongKind(got.String(), want)
		}
		if _, custom := want.New().(*unstructured.Unstructured); !custom {
			typed, ok := want.New().(object.Object)
			if !ok {
				return nil, wrongKind(want.String(), want)
			}
			if err := codec.ToTyped(u, typed); err != nil {
				return nil, apierrors.NewBadRequest(err.Error())
			}
			return typed, nil
		}
		out := u.DeepCopy()
		return out, want.Prepare(out)
	}
	if fmt.Sprintf("%T", obj) != fmt.Sprintf("%T", want.New()) {
		return nil, wrongKind(fmt.Sprintf("%T", obj), want)
	}
	out, ok := obj.DeepCopyObject().(object.Object)
	if !ok {
		return nil, wrongKind(fmt.Sprintf("%T", obj), want)
	}
	return out, nil
}

func wrongKind(got string, want decode.Expect) error {
	return apierrors.NewBadRequest(fmt.Sprintf("a %s cannot be handled as a %s", got, want.Kind))
}

func (d *direct) Get(ctx context.Context, r client.GVR, namespace, name string, o metav1.GetOptions, sub ...string) (obj client.Object, err error) {
	c, err := d.begin(ctx, "get", r, namespace, name, sub)
	if err != nil {
		return nil, err
	}
	defer c.done(&err)
	out, err := d.s.get(c.ctx, c.req, c.t, &o)
	return c.result(out, err)
}

func (d *direct) List(ctx context.Context, r client.GVR, namespace string, o metav1.ListOptions) (l *client.List, err error) {
	c, err := d.beginSelected(ctx, "list", r, namespace, "", nil, &o)
	if err != nil {
		return nil, err
	}
	defer c.done(&err)
	if c.t.Kind.Virtual {
		h := d.s.handler(c.t, "")
		if h == nil || h.List == nil {
			return nil, errMethod(c.t.Kind, "list")
		}
		return h.List(c.ctx, c.req, o)
	}
	page, err := d.s.list(c.ctx, c.req, c.t, &o)
	if err != nil {
		return nil, err
	}
	objs, err := store.InAll(c.t.Version, page.Entries)
	if err != nil {
		return nil, err
	}
	meta := encode.ListMeta(page)
	return &client.List{Items: objs, ResourceVersion: meta.ResourceVersion, Continue: page.Continue, RemainingItemCount: page.Remaining}, nil
}

func (d *direct) Create(ctx context.Context, r client.GVR, obj client.Object, o metav1.CreateOptions, sub ...string) (res client.Object, err error) {
	name := ""
	if len(sub) > 0 {
		name = obj.GetName()
	}
	c, err := d.begin(ctx, "create", r, obj.GetNamespace(), name, sub)
	if err != nil {
		return nil, err
	}
	defer c.done(&err)
	if err := decode.CheckCreate(&o); err != nil {
		return nil, err
	}
	mine, err := c.own(obj)
	if err != nil {
		return nil, err
	}
	out, err := d.s.create(c.ctx, c.req, c.t, mine, &o)
	if err == nil && out.status {
		return obj, nil
	}
	return c.result(out, err)
}

func (d *direct) Update(ctx context.Context, r client.GVR, obj client.Object, o metav1.UpdateOptions, sub ...string) (res client.Object, err error) {
	c, err := d.begin(ctx, "update", r, obj.GetNamespace(), obj.GetName(), sub)
	if err != nil {
		return nil, err
	}
	defer c.done(&err)
	if err := decode.CheckUpdate(&o); err != nil {
		return nil, err
	}
	mine, err := c.own(obj)
	if err != nil {
		return nil, err
	}
	out, err := d.s.update(c.ctx, c.req, c.t, mine, &o)
	return c.result(out, err)
}

func (d *direct) Patch(ctx context.Context, r client.GVR, namespace, name string, t types.PatchType, data []byte, o metav1.PatchOptions, sub ...string) (res client.Object, err error) {
	c, err := d.begin(ctx, "patch", r, namespace, name, sub)
	if err != nil {
		return nil, err
	}
	defer c.done(&err)
	if err := decode.CheckPatch(&o, t); err != nil {
		return nil, err
	}
	auditPatch(c.trail, data, t)
	out, err := d.s.patch(c.ctx, c.req, c.t, t, data, &o)
	return c.result(out, err)
}

func (d *direct) Delete(ctx context.Context, r client.GVR, namespace, name string, o metav1.DeleteOptions) (err error) {
	c, err := d.begin(ctx, "delete", r, namespace, name, nil)
	if err != nil {
		return err
	}
	defer c.done(&err)
	if err := decode.CheckDelete(&o); err != nil {
		return err
	}
	auditOptions(c.trail, &o)
	_, err = d.s.delete(c.ctx, c.req, c.t, &o)
	return err
}

func (d *direct) DeleteCollection(ctx context.Context, r client.GVR, namespace string, o metav1.DeleteOptions, l metav1.ListOptions) (err error) {
	c, err := d.beginSelected(ctx, "deletecollection", r, namespace, "", nil, &l)
	if err != nil {
		return err
	}
	defer c.done(&err)
	if err := decode.CheckDelete(&o); err != nil {
		return err
	}
	auditOptions(c.trail, &o)
	lo, err := d.s.listOptions(c.req, c.t, &l)
	if err != nil {
		return err
	}
	_, err = d.s.registry.DeleteCollection(c.ctx, c.req, c.t, lo, &o)
	return err
}

func (d *direct) Resources(context.Context) ([]metav1.APIResource, error) {
	return d.s.discovery.Preferred(), nil
}

// OpenAPI goes through the HTTP door of the process, which has the documents in the form that is asked for.
func (d *direct) OpenAPI(ctx context.Context, gv schema.GroupVersion) ([]byte, error) {
	c, err := d.overHTTP()
	if err != nil {
		return nil, err
	}
	return c.OpenAPI(ctx, gv)
}

func (d *direct) Watch(ctx context.Context, r client.GVR, namespace string, o metav1.ListOptions) (w watch.Interface, err error) {
	c, err := d.beginSelected(ctx, "watch", r, namespace, "", nil, &o)
	if err != nil {
		return nil, err
	}
	defer c.done(&err)
	if c.t.Kind.Virtual {
		return nil, errMethod(c.t.Kind, "watch")
	}
	sw, failed := d.s.watch(c.ctx, c.req, c.t, &o)
	if failed != nil && !apierrors.IsResourceExpired(failed) && !apierrors.IsGone(failed) {
		return nil, failed
	}
	dw := &directWatch{s: d.s, v: c.t.Version, w: sw, events: make(chan watch.Event), trail: c.trail}
	wctx, cancel := d.s.metrics.longRunning(c.ctx, c.req)
	dw.cancel = cancel
	if o.TimeoutSeconds != nil && *o.TimeoutSeconds > 0 {
		wctx, dw.cancel = withTimeout(wctx, cancel, time.Duration(*o.TimeoutSeconds)*time.Second)
	}
	go dw.run(wctx, failed)
	return dw, nil
}

func withTimeout(ctx context.Context, outer context.CancelFunc, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, d)
	return ctx, func() { cancel(); outer() }
}

// directWatch hands the events of a watcher to a channel.
type directWatch struct {
	s      *Server
	v      *object.Version
	w      *store.Watcher
	events chan watch.Event
	cancel context.CancelFunc
	trail  *audit.Trail
}

// Stop ends the watch. It may be called more than once.
func (d *directWatch) Stop() { d.cancel() }

// ResultChan is closed at the end of the watch.
func (d *directWatch) ResultChan() <-chan watch.Event { return d.events }

func (d *directWatch) run(ctx context.Context, failed error) {
	defer close(d.events)
	defer d.cancel()
	defer d.trail.End(http.StatusOK)
	if failed != nil {
		d.tell(ctx, failed)
		return
	}
	defer d.w.Stop()
	for {
		events, err := d.w.Next(ctx)
		if err != nil {
			if ctx.Err() == nil {
				d.tell(ctx, err)
			}
			return
		}
		objs, err := store.EventObjects(d.v, events)
		if err != nil {
			d.tell(ctx, err)
			return
		}
		for i, e := range events {
			select {
			case d.events <- watch.Event{Type: e.Type, Object: objs[i]}:
			case <-ctx.Done():
				return
			}
		}
	}
}

func (d *directWatch) tell(ctx context.Context, err error) {
	select {
	case d.events <- watch.Event{Type: watch.Error, Object: statusOf(err)}:
	case <-ctx.Done():
	}
}
