package server

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/rest"

	"hyperkube/internal/client"
	"hyperkube/internal/object"
)

// routed is the direct door, completed by what other servers serve (aggregation): such requests go through the HTTP door of this
// process under the same identity, without a socket, so that a role sees one API.
type routed struct {
	*direct
	once   sync.Once
	others client.Interface
	failed error
}

// to picks the way of a resource.
func (d *routed) to(r client.GVR) (client.Interface, error) {
	if !d.s.elsewhere(r) {
		return d.direct, nil
	}
	d.once.Do(func() { d.others, d.failed = d.overHTTP() })
	return d.others, d.failed
}

// overHTTP is a client of the HTTP door of this process, without a socket.
func (d *direct) overHTTP() (client.Interface, error) {
	return client.NewREST(&rest.Config{Host: "http://inside", Transport: inside{d.s, d.user}, UserAgent: agentOf(d.user)})
}

// elsewhere says whether another server serves the group and version.
func (s *Server) elsewhere(r client.GVR) bool {
	if s.parts.Delegate == nil || s.parts.Groups == nil {
		return false
	}
	for _, f := range s.parts.Groups() {
		if f.Group == r.Group && f.Version == r.Version {
			return true
		}
	}
	return false
}

// own is the door of the server's own parts.
type own struct{ *routed }

var _ client.Knowing = own{}

func (s *Server) own() client.Interface {
	return own{&routed{direct: &direct{s: s, user: loopback()}}}
}

// Known implements [client.Knowing].
func (o own) Known(ctx context.Context, r client.GVR, namespace, name string) (client.Object, error) {
	k, v := o.s.cfg.Table.Resource(r)
	if k == nil || v == nil || k.Virtual || v.FromHub != nil || o.s.elsewhere(r) {
		return o.Get(ctx, r, namespace, name, metav1.GetOptions{ResourceVersion: "0"})
	}
	e, err := o.s.registry.Get(ctx, k, object.Key{Namespace: namespace, Name: name}, "0")
	if err != nil {
		return nil, err
	}
	return e.Object(), nil
}

func (d *routed) Get(ctx context.Context, r client.GVR, namespace, name string, o metav1.GetOptions, sub ...string) (client.Object, error) {
	c, err := d.to(r)
	if err != nil {
		return nil, err
	}
	return c.Get(ctx, r, namespace, name, o, sub...)
}

func (d *routed) List(ctx context.Context, r client.GVR, namespace string, o metav1.ListOptions) (*client.List, error) {
	c, err := d.to(r)
	if err != nil {
		return nil, err
	}
	return c.List(ctx, r, namespace, o)
}

func (d *routed) Watch(ctx context.Context, r client.GVR, namespace string, o metav1.ListOptions) (watch.Interface, error) {
	c, err := d.to(r)
	if err != nil {
		return nil, err
	}
	return c.Watch(ctx, r, namespace, o)
}

func (d *routed) Create(ctx context.Context, r client.GVR, obj client.Object, o metav1.CreateOptions, sub ...string) (client.Object, error) {
	c, err := d.to(r)
	if err != nil {
		return nil, err
	}
	return c.Create(ctx, r, obj, o, sub...)
}

func (d *routed) Update(ctx context.Context, r client.GVR, obj client.Object, o metav1.UpdateOptions, sub ...string) (client.Object, error) {
	c, err := d.to(r)
	if err != nil {
		return nil, err
	}
	return c.Update(ctx, r, obj, o, sub...)
}

func (d *routed) Patch(ctx context.Context, r client.GVR, namespace, name string, t types.PatchType, data []byte, o metav1.PatchOptions, sub ...string) (client.Object, error) {
	c, err := d.to(r)
	if err != nil {
		return nil, err
	}
	return c.Patch(ctx, r, namespace, name, t, data, o, sub...)
}

func (d *routed) Delete(ctx context.Context, r client.GVR, namespace, name string, o metav1.DeleteOptions) error {
	c, err := d.to(r)
	if err != nil {
		return err
	}
	return c.Delete(ctx, r, namespace, name, o)
}

func (d *routed) DeleteCollection(ctx context.Context, r client.GVR, namespace string, o metav1.DeleteOptions, l metav1.ListOptions) error {
	c, err := d.to(r)
	if err != nil {
		return err
	}
	return c.DeleteCollection(ctx, r, namespace, o, l)
}

// inside carries requests to the HTTP door of the same process. The user travels in the context, where nobody from outside can put
// one.
type inside struct {
	s    *Server
	user user.Info
}

type insideKey struct{}

func (t inside) RoundTrip(r *http.Request) (*http.Response, error) {
	in := r.Clone(context.WithValue(r.Context(), insideKey{}, t.user))
	in.RequestURI, in.RemoteAddr, in.Host = r.URL.RequestURI(), "127.0.0.1:0", "localhost"
	if in.Body == nil {
		in.Body = http.NoBody
	}
	body, out := io.Pipe()
	w := &insideWriter{header: http.Header{}, body: out, started: make(chan struct{})}
	go func() {
		defer func() {
			if p := recover(); p != nil { // the door ends a request so that cannot be answered
				w.end(fmt.Errorf("the request was ended: %v", p))
				return
			}
			w.end(nil)
		}()
		t.s.serve(w, in)
	}()
	select {
	case <-w.started:
	case <-r.Context().Done():
		body.CloseWithError(r.Context().Err())
		return nil, r.Context().Err()
	}
	return &http.Response{
		Status: http.StatusText(w.code), StatusCode: w.code, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.sent, Body: body, ContentLength: -1, Request: r,
	}, nil
}

// insideWriter hands an answer over as it is written.
type insideWriter struct {
	header, sent http.Header
	code         int
	body         *io.PipeWriter
	once         sync.Once
	started      chan struct{}
}

func (w *insideWriter) Header() http.Header { return w.header }

func (w *insideWriter) WriteHeader(code int) {
	if code < 200 {
		return
	}
	w.once.Do(func() {
		w.code, w.sent = code, w.header.Clone()
		close(w.started)
	})
}

func (w *insideWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(p)
}

// Flush does nothing: nothing waits here.
func (w *insideWriter) Flush() {}

func (w *insideWriter) end(err error) {
	w.WriteHeader(http.StatusOK)
	w.body.CloseWithError(err)
}
