// Package load is what the systems are put under: a client without rate limit, raw streams where decoding in the client would
// hide the server, pods with and without containers, and nodes that exist only in the API.
package load

import (
	"context"
	"errors"
	"fmt"
	"path"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
)

// Wire formats.
const (
	JSON     = "application/json"
	Protobuf = "application/vnd.kubernetes.protobuf"
)

// API is a client of one API server.
type API struct{ rest *rest.RESTClient }

// NewAPI makes a client of client-go without rate limit that speaks one wire format.
func NewAPI(cfg *rest.Config, format string) (*API, error) {
	c := rest.CopyConfig(cfg)
	c.QPS = -1
	c.ContentType, c.AcceptContentTypes = format, format
	c.GroupVersion = &schema.GroupVersion{Version: "v1"}
	c.NegotiatedSerializer = scheme.Codecs.WithoutConversion()
	c.APIPath = "/api"
	r, err := rest.RESTClientFor(c)
	if err != nil {
		return nil, err
	}
	return &API{rest: r}, nil
}

// Resource is a kind's place in the API: "api/v1/pods", "apis/apps/v1/deployments".
type Resource string

// The resources that the load uses.
const (
	Pods            Resource = "api/v1/pods"
	Nodes           Resource = "api/v1/nodes"
	Namespaces      Resource = "api/v1/namespaces"
	ServiceAccounts Resource = "api/v1/serviceaccounts"
	Services        Resource = "api/v1/services"
	EndpointSlices  Resource = "apis/discovery.k8s.io/v1/endpointslices"
	Leases          Resource = "apis/coordination.k8s.io/v1/leases"
	Deployments     Resource = "apis/apps/v1/deployments"
)

// Path of an object, or of the whole resource when the name is empty.
func (r Resource) Path(namespace, name string) string {
	dir, plural := path.Split(string(r))
	if namespace != "" {
		plural = path.Join("namespaces", namespace, plural)
	}
	return "/" + path.Join(dir, plural, name)
}

// Create makes an object.
func (a *API) Create(ctx context.Context, r Resource, namespace string, o runtime.Object) error {
	return a.rest.Post().AbsPath(r.Path(namespace, "")).Body(o).Do(ctx).Error()
}

// CreateInto makes an object and reads what the server made of it.
func (a *API) CreateInto(ctx context.Context, r Resource, namespace string, o, into runtime.Object) error {
	return a.rest.Post().AbsPath(r.Path(namespace, "")).Body(o).Do(ctx).Into(into)
}

// Get reads an object.
func (a *API) Get(ctx context.Context, r Resource, namespace, name string, into runtime.Object) error {
	return a.rest.Get().AbsPath(r.Path(namespace, name)).Do(ctx).Into(into)
}

// List reads a resource.
func (a *API) List(ctx context.Context, r Resource, namespace string, o metav1.ListOptions, into runtime.Object) error {
	return a.rest.Get().AbsPath(r.Path(namespace, "")).VersionedParams(&o, scheme.ParameterCodec).Do(ctx).Into(into)
}

// Delete removes an object.
func (a *API) Delete(ctx context.Context, r Resource, namespace, name string) error {
	return a.rest.Delete().AbsPath(r.Path(namespace, name)).Do(ctx).Error()
}

// DeleteWith removes an object in a way of its own: with preconditions, a grace period, or the objects that it owns.
func (a *API) DeleteWith(ctx context.Context, r Resource, namespace, name string, o metav1.DeleteOptions) error {
	return a.rest.Delete().AbsPath(r.Path(namespace, name)).Body(&o).Do(ctx).Error()
}

// Patch changes an object or a subresource of it.
func (a *API) Patch(ctx context.Context, r Resource, namespace, name, sub string, kind types.PatchType, data []byte) error {
	return a.rest.Patch(kind).AbsPath(r.Path(namespace, path.Join(name, sub))).Body(data).Do(ctx).Error()
}

// Update replaces an object or a subresource of it.
func (a *API) Update(ctx context.Context, r Resource, namespace, name, sub string, o runtime.Object) error {
	return a.rest.Put().AbsPath(r.Path(namespace, path.Join(name, sub))).Body(o).Do(ctx).Error()
}

// UpdateInto replaces an object and reads what the server made of it.
func (a *API) UpdateInto(ctx context.Context, r Resource, namespace, name string, o, into runtime.Object) error {
	return a.rest.Put().AbsPath(r.Path(namespace, name)).Body(o).Do(ctx).Into(into)
}

// Watch follows a resource.
func (a *API) Watch(ctx context.Context, r Resource, namespace string, o metav1.ListOptions) (watch.Interface, error) {
	o.Watch = true
	return a.rest.Get().AbsPath(r.Path(namespace, "")).VersionedParams(&o, scheme.ParameterCodec).Watch(ctx)
}

// Raw asks for a path and drops the answer.
func (a *API) Raw(ctx context.Context, path string) error {
	return a.rest.Get().AbsPath(path).Do(ctx).Error()
}

// Await follows a resource from its present state until an object satisfies done.
func Await[T runtime.Object](ctx context.Context, a *API, r Resource, namespace string, o metav1.ListOptions, done func(T) bool) error {
	w, err := a.Watch(ctx, r, namespace, o)
	if err != nil {
		return err
	}
	defer w.Stop()
	for {
		select {
		case e, ok := <-w.ResultChan():
			if !ok {
				return errors.New("the watch ended")
			}
			if e.Type == watch.Error {
				return apierrors.FromObject(e.Object)
			}
			if t, ok := e.Object.(T); ok && e.Type != watch.Deleted && done(t) {
				return nil
			}
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", r, ctx.Err())
		}
	}
}

// Ends returns when a watch has told of so many deletions.
func Ends(ctx context.Context, w watch.Interface, count int) error {
	for count > 0 {
		select {
		case e, ok := <-w.ResultChan():
			switch {
			case !ok:
				return fmt.Errorf("the watch ended with %d objects left", count)
			case e.Type == watch.Error:
				return apierrors.FromObject(e.Object)
			case e.Type == watch.Deleted:
				count--
			}
		case <-ctx.Done():
			return fmt.Errorf("waiting for %d objects to be gone: %w", count, ctx.Err())
		}
	}
	return nil
}

// AwaitServiceAccount returns when pods can be made in a namespace.
func AwaitServiceAccount(ctx context.Context, a *API, namespace string) error {
	return Await(ctx, a, ServiceAccounts, namespace, named("default"), func(*corev1.ServiceAccount) bool { return true })
}

func named(name string) metav1.ListOptions {
	return metav1.ListOptions{FieldSelector: "metadata.name=" + name}
}
