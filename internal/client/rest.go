package client

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// FromKubeconfig reads how to reach a server from a kubeconfig file.
func FromKubeconfig(file string) (*rest.Config, error) {
	c, err := clientcmd.BuildConfigFromFlags("", file)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig %s: %w", file, err)
	}
	return c, nil
}

// Named is cfg with the user agent of a program, by which the API server knows who manages the fields that it writes.
func Named(cfg *rest.Config, program string) *rest.Config {
	out := rest.CopyConfig(cfg)
	_, rest, _ := strings.Cut(rest.DefaultKubernetesUserAgent(), "/")
	out.UserAgent = program + "/" + rest
	return out
}

// NewREST is an [Interface] over HTTP to the server that cfg names. It speaks protobuf for the kinds that this binary
// knows and JSON for all others, whose objects are *unstructured.Unstructured. Requests that the server turns away
// with 429 are sent again when it says so. There is no rate limit on this side. A server that is gone without a word is noticed within
// seconds: see [Wait] for what happens then.
func NewREST(cfg *rest.Config) (Interface, error) {
	h, err := connect(cfg)
	if err != nil {
		return nil, err
	}
	base, _, err := rest.DefaultServerUrlFor(cfg)
	if err != nil {
		return nil, err
	}
	agent := cfg.UserAgent
	if agent == "" {
		agent = rest.DefaultKubernetesUserAgent()
	}
	return &restClient{base: base, connection: h, agent: agent}, nil
}

type restClient struct {
	*connection
	base  *url.URL
	agent string
}

func (c *restClient) Get(ctx context.Context, r GVR, namespace, name string, o metav1.GetOptions, sub ...string) (Object, error) {
	return c.object(ctx, http.MethodGet, r, namespace, name, sub, &o, nil)
}

func (c *restClient) Create(ctx context.Context, r GVR, obj Object, o metav1.CreateOptions, sub ...string) (Object, error) {
	name := ""
	if len(sub) > 0 {
		name = obj.GetName()
	}
	b, err := encodeBody(r, obj)
	if err != nil {
		return nil, err
	}
	got, err := c.object(ctx, http.MethodPost, r, obj.GetNamespace(), name, sub, &o, b)
	if err == nil && got == nil {
		return obj, nil // a Status of success: bindings, evictions
	}
	return got, err
}

func (c *restClient) Update(ctx context.Context, r GVR, obj Object, o metav1.UpdateOptions, sub ...string) (Object, error) {
	b, err := encodeBody(r, obj)
	if err != nil {
		return nil, err
	}
	return c.object(ctx, http.MethodPut, r, obj.GetNamespace(), obj.GetName(), sub, &o, b)
}

func (c *restClient) Patch(ctx context.Context, r GVR, namespace, name string, t types.PatchType, data []byte, o metav1.PatchOptions, sub ...string) (Object, error) {
	return c.object(ctx, http.MethodPatch, r, namespace, name, sub, &o, &body{data, string(t)})
}

func (c *restClient) Delete(ctx context.Context, r GVR, namespace, name string, o metav1.DeleteOptions) error {
	return c.remove(ctx, r, namespace, name, nil, o)
}

func (c *restClient) DeleteCollection(ctx context.Context, r GVR, namespace string, o metav1.DeleteOptions, l metav1.ListOptions) error {
	q, err := query(&l)
	if err != nil {
		return err
	}
	return c.remove(ctx, r, namespace, "", q, o)
}

func (c *restClient) remove(ctx context.Context, r GVR, namespace, name string, q url.Values, o metav1.DeleteOptions) error {
	b, err := deleteBody(&o)
	if err != nil {
		return err
	}
	res, err := c.do(ctx, http.MethodDelete, c.url(r, namespace, name, nil, q), r, b)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, res.Body)
	res.Body.Close()
	return err
}

func (c *restClient) List(ctx context.Context, r GVR, namespace string, o metav1.ListOptions) (*List, error) {
	q, err := query(&o)
	if err != nil {
		return nil, err
	}
	got, err := c.read(ctx, http.MethodGet, c.url(r, namespace, "", nil, q), r, nil)
	if err != nil {
		return nil, err
	}
	m, err := meta.ListAccessor(got)
	if err != nil {
		return nil, fmt.Errorf("list of %s: %w", r.Resource, err)
	}
	items, err := meta.ExtractList(got)
	if err != nil {
		return nil, fmt.Errorf("list of %s: %w", r.Resource, err)
	}
	l := &List{ResourceVersion: m.GetResourceVersion(), Continue: m.GetContinue(), RemainingItemCount: m.GetRemainingItemCount()}
	l.Items = make([]Object, 0, len(items))
	for _, i := range items {
		obj, ok := i.(Object)
		if !ok {
			return nil, fmt.Errorf("list of %s holds a %T", r.Resource, i)
		}
		l.Items = append(l.Items, obj)
	}
	return l, nil
}

func (c *restClient) Watch(ctx context.Context, r GVR, namespace string, o metav1.ListOptions) (watch.Interface, error) {
	o.Watch = true
	q, err := query(&o)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	res, err := c.do(ctx, http.MethodGet, c.url(r, namespace, "", nil, q), r, nil)
	if err != nil {
		cancel()
		return nil, err
	}
	w, err := decodeWatch(res, cancel)
	if err != nil {
		cancel()
		res.Body.Close()
	}
	return w, err
}

func (c *restClient) object(ctx context.Context, method string, r GVR, namespace, name string, sub []string, o runtime.Object, b *body) (Object, error) {
	q, err := query(o)
	if err != nil {
		return nil, err
	}
	got, err := c.read(ctx, method, c.url(r, namespace, name, sub, q), r, b)
	if err != nil {
		return nil, err
	}
	if st, ok := got.(*metav1.Status); ok && st.Status == metav1.StatusSuccess {
		return nil, nil
	}
	obj, ok := got.(Object)
	if !ok {
		return nil, fmt.Errorf("the server answered with a %T", got)
	}
	return obj, nil
}

func (c *restClient) url(r GVR, namespace, name string, sub []string, q url.Values) string {
	parts := []string{c.base.Path, "/apis", r.Group, r.Version}
	if r.Group == "" {
		parts = []string{c.base.Path, "/api", r.Version}
	}
	if namespace != "" {
		parts = append(parts, "namespaces", namespace)
	}
	parts = append(parts, r.Resource, name)
	u := *c.base
	u.Path = path.Join(append(parts, sub...)...)
	u.RawQuery = q.Encode()
	return u.String()
}

func query(o runtime.Object) (url.Values, error) {
	return parameters().EncodeParameters(o, schema.GroupVersion{Version: "v1"})
}

type body struct {
	data        []byte
	contentType string
}

func (b *body) reader() io.Reader {
	if b == nil {
		return nil
	}
	return bytes.NewReader(b.data)
}
