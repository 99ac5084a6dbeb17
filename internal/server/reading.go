package server

import (
	"context"
	"math/rand/v2"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"hyperkube/internal/client"
	"hyperkube/internal/object"
	"hyperkube/internal/object/codec"
	"hyperkube/internal/server/decode"
	"hyperkube/internal/server/encode"
	"hyperkube/internal/server/negotiate"
	"hyperkube/internal/store"
)

func (x *exchange) list() {
	f, ok := x.form(true)
	if !ok {
		return
	}
	o, err := decode.List(x.q)
	if err != nil {
		x.fail(err)
		return
	}
	if x.t.Kind.Virtual {
		x.listVirtual(f, o)
		return
	}
	page, err := x.s.list(x.r.Context(), x.req, x.t, o)
	if err != nil {
		x.fail(err)
		return
	}
	x.sendPage(f, page)
}

func (x *exchange) sendPage(f negotiate.Form, page *store.Page) {
	if f.As == "" {
		b, err := encode.List(f, x.t.Version, page)
		if err != nil {
			x.fail(err)
			return
		}
		x.auditPage(f, b, page)
		send(x.w, x.r, http.StatusOK, f.Media, b)
		return
	}
	include, err := encode.CheckInclude(x.q.Get("includeObject"))
	if err != nil {
		x.fail(err)
		return
	}
	table := func(f negotiate.Form) ([]byte, error) {
		return encode.TransformedList(f, x.t.Kind, x.t.Version, page, encode.TableOptions{Include: include, Now: time.Now()})
	}
	data, err := table(f)
	if err != nil {
		x.fail(err)
		return
	}
	x.auditAnswer(f, data, table)
	send(x.w, x.r, http.StatusOK, f.Media, encode.One(data))
}

// listVirtual lists a kind that a handler makes up.
func (x *exchange) listVirtual(f negotiate.Form, o *metav1.ListOptions) {
	h := x.s.handler(x.t, "")
	if h == nil || h.List == nil {
		x.fail(errMethod(x.t.Kind, x.req.Verb))
		return
	}
	l, err := h.List(x.r.Context(), x.req, *o)
	if err != nil {
		x.fail(err)
		return
	}
	data, err := x.encodeVirtual(f, l)
	if err != nil {
		x.fail(err)
		return
	}
	x.auditAnswer(f, data, func(f negotiate.Form) ([]byte, error) { return x.encodeVirtual(f, l) })
	send(x.w, x.r, http.StatusOK, f.Media, encode.One(data))
}

func (x *exchange) encodeVirtual(f negotiate.Form, l *client.List) ([]byte, error) {
	meta := metav1.ListMeta{ResourceVersion: l.ResourceVersion}
	if f.As == "Table" {
		include, err := encode.CheckInclude(x.q.Get("includeObject"))
		if err != nil {
			return nil, err
		}
		objs := make([]object.Object, len(l.Items))
		copy(objs, l.Items)
		t, err := encode.Table(x.t.Kind, x.t.Version, objs, meta, encode.TableOptions{Include: include, Now: time.Now()})
		if err != nil {
			return nil, err
		}
		return encode.Any(f, t, f.Target())
	}
	list := &metav1.List{ListMeta: meta, Items: make([]runtime.RawExtension, len(l.Items))}
	for i, o := range l.Items {
		list.Items[i].Object = codec.WithKind(o, x.t.GVK())
	}
	plain := f
	if f.Media == negotiate.Protobuf || f.As != "" {
		return nil, errNotAcceptable(negotiate.Offer{YAML: true})
	}
	gvk := x.t.Version.GroupVersion.WithKind(x.t.Version.ListKind())
	return encode.Any(plain, list, gvk)
}

func (x *exchange) deleteCollection() {
	f, ok := x.form(true)
	if !ok {
		return
	}
	l, err := decode.List(x.q)
	if err != nil {
		x.fail(err)
		return
	}
	o, err := x.deleteOptions()
	if err != nil {
		x.fail(err)
		return
	}
	l.TimeoutSeconds = nil
	lo, err := x.s.listOptions(x.req, x.t, l)
	if err != nil {
		x.fail(err)
		return
	}
	page, err := x.s.registry.DeleteCollection(x.r.Context(), x.req, x.t, lo, o)
	if err != nil {
		x.fail(err)
		return
	}
	x.sendPage(f, page)
}

// watch streams events until the client, the timeout or the store ends it.
func (x *exchange) watch() {
	began := time.Now()
	if x.t.Version.Custom == nil && !negotiate.Routed(x.r.Header.Get("Accept"), negotiate.Routes...) {
		x.fail(errNotRouted(negotiate.Watches...))
		return
	}
	o := x.offer()
	f, ok := negotiate.Accept(x.r.Header.Get("Accept"), o)
	if f.As == "PartialObjectMetadataList" {
		f.As = "PartialObjectMetadata" // of each event
	}
	if !ok || f.Media == negotiate.YAML {
		x.fail(errNotAcceptable(o))
		return
	}
	lo, err := decode.List(x.q)
	if err != nil {
		x.fail(err)
		return
	}
	include, err := encode.CheckInclude(x.q.Get("includeObject"))
	if err != nil {
		x.fail(err)
		return
	}
	if x.t.Kind.Virtual {
		x.fail(errMethod(x.t.Kind, x.req.Verb))
		return
	}
	ctx, cancel := context.WithTimeout(x.r.Context(), x.s.watchTimeout(lo))
	defer cancel()
	frames := &encode.Frames{Form: f, Kind: x.t.Kind, Version: x.t.Version, Table: encode.TableOptions{Include: include}}
	w, err := x.s.watch(ctx, x.req, x.t, lo)
	if err != nil && !apierrors.IsResourceExpired(err) && !apierrors.IsGone(err) {
		x.fail(err)
		return
	}
	if isWebSocket(x.r) {
		x.watchOverWebSocket(ctx, w, frames, err, x.sends(began))
		return
	}
	x.w.Header().Set("Content-Type", frames.ContentType())
	x.w.Header().Set("Cache-Control", "no-cache, private")
	x.w.WriteHeader(http.StatusOK)
	x.w.Flush()
	out := output{write: func(b []byte) error {
		_, err := x.w.Write(b)
		return err
	}, flush: x.w.Flush, join: writeChunk, held: heldOf(x.r), tell: x.sends(began)}
	if out.held != nil {
		out.join = keepUpTo
	}
	x.s.stream(ctx, w, err, frames, out)
}

// sends counts what a watch that began then is sent.
func (x *exchange) sends(began time.Time) tells {
	u := &x.s.metrics.usage
	return tells{sizes: u.sent(x.req.GVR()), state: func() { u.state(x.req, time.Since(began)) }}
}

// watchTimeout is what the client asks for, or a random time so that watches do not all end at once.
func (s *Server) watchTimeout(o *metav1.ListOptions) time.Duration {
	if o.TimeoutSeconds != nil && *o.TimeoutSeconds > 0 {
		return time.Duration(*o.TimeoutSeconds) * time.Second
	}
	return s.cfg.MinRequestTimeout + rand.N(s.cfg.MinRequestTimeout)
}
