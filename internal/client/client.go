// Package client is how every role reads and writes objects, and the only part of the API
// server that a role sees.
//
// [Interface] has two implementations, which one contract suite holds to the same
// behaviour: the direct door (internal/server hands it out to roles of the same process: the whole
// request pipeline under the role's own identity, without sockets and encoding, giving out
// the shared objects of the watch cache) and [NewREST] (HTTPS to an API server elsewhere). A role
// cannot tell which one it was given.
//
// Objects returned by Get, List and Watch are shared and must not be changed: DeepCopy first.
// Objects passed in are not kept or changed. Errors are those of
// k8s.io/apimachinery/pkg/api/errors: test them with apierrors.IsNotFound and its like.
//
// [Resource] adds Go's types: client.Pods.Get(ctx, c, ns, name) gives a *corev1.Pod.
// [Informers] keep local, indexed copies and tell of changes; [Queue] and [RunWorkers] turn changes of
// keys into calls of a reconciler; [NewRecorder] writes events; [RunLeading] elects one of several.
package client

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"hyperkube/internal/object"
)

// GVR names a resource of the API in one version.
type GVR = schema.GroupVersionResource

// Object is any object of the API.
type Object = object.Object

// List is one page of objects and the place in history that it shows.
type List struct {
	Items              []Object
	ResourceVersion    string
	Continue           string
	RemainingItemCount *int64
}

// Interface is the API as a role sees it. The namespace is empty for cluster-scoped resources,
// and for List, Watch and DeleteCollection over all namespaces. sub names a subresource
// ("status", "binding", "eviction", "token", "approval", "scale"); for those whose body is a kind of its own
// (Binding, Eviction, TokenRequest, Scale) obj and the result are of that kind, and obj's
// name and namespace are those of the parent.
type Interface interface {
	Get(ctx context.Context, r GVR, namespace, name string, o metav1.GetOptions, sub ...string) (Object, error)
	List(ctx context.Context, r GVR, namespace string, o metav1.ListOptions) (*List, error)
	// Watch delivers events until ctx ends, Stop is called or the server closes it. Events carry
	// Object, *metav1.Status (watch.Error) or an Object with only its resourceVersion set (watch.Bookmark).
	Watch(ctx context.Context, r GVR, namespace string, o metav1.ListOptions) (watch.Interface, error)
	Create(ctx context.Context, r GVR, obj Object, o metav1.CreateOptions, sub ...string) (Object, error)
	Update(ctx context.Context, r GVR, obj Object, o metav1.UpdateOptions, sub ...string) (Object, error)
	Patch(ctx context.Context, r GVR, namespace, name string, t types.PatchType, data []byte, o metav1.PatchOptions, sub ...string) (Object, error)
	Delete(ctx context.Context, r GVR, namespace, name string, o metav1.DeleteOptions) error
	DeleteCollection(ctx context.Context, r GVR, namespace string, o metav1.DeleteOptions, l metav1.ListOptions) error

	// Resources lists what the server serves, as /apis does: every resource in the version that the server prefers of those that have
	// it, without subresources. Beside an error it gives those that could be found.
	Resources(ctx context.Context) ([]metav1.APIResource, error)
	// OpenAPI reads the OpenAPI 3 document of one group and version, in JSON: what its objects look like, among others.
	OpenAPI(ctx context.Context, gv schema.GroupVersion) ([]byte, error)
}

// Knowing is an Interface for the parts of the server itself, which look at objects with every request that they judge.
type Knowing interface {
	Interface
	// Known gives what Get does at resourceVersion "0", without the way that requests go: nobody is asked for leave, and nothing is counted or logged.
	Known(ctx context.Context, r GVR, namespace, name string) (Object, error)
}
