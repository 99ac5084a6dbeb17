// Package apitest holds an API in memory for tests of what stands around the API server's pipeline: authenticators,
// authorizers and admission plugins read through client.Interface, and need no store for that. It keeps objects
// as they are given, checks and defaults nothing, and knows the field selectors metadata.name and spec.nodeName. Tests of whole
// requests use a real server.
package apitest

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"sync"

	jsonpatch "github.com/evanphx/json-patch/v5"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"hyperkube/internal/client"
	"hyperkube/internal/object"
)

// API is an API in memory.
type API struct {
	mu       sync.Mutex
	revision int64
	objects  map[client.GVR]map[object.Key]client.Object
	watchers map[*watcher]struct{}
	// Writes counts creates, updates and deletes.
	Writes int
}

var _ client.Interface = (*API)(nil)

// New makes an API that holds the objects.
func New(objects map[client.GVR][]client.Object) *API {
	a := &API{objects: map[client.GVR]map[object.Key]client.Object{}, watchers: map[*watcher]struct{}{}}
	for r, list := range objects {
		for _, o := range list {
			a.Put(r, o)
		}
	}
	return a
}

// Put stores an object, new or not.
func (a *API) Put(r client.GVR, o client.Object) client.Object {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.put(r, o)
}

func (a *API) put(r client.GVR, o client.Object) client.Object {
	o = o.DeepCopyObject().(client.Object)
	a.revision++
	o.SetResourceVersion(strconv.FormatInt(a.revision, 10))
	all := a.objects[r]
	if all == nil {
		all = map[object.Key]client.Object{}
		a.objects[r] = all
	}
	kind := watch.Added
	if _, ok := all[object.KeyOf(o)]; ok {
		kind = watch.Modified
	}
	all[object.KeyOf(o)] = o
	a.tell(r, watch.Event{Type: kind, Object: o})
	return o
}

// Drop removes an object at once.
func (a *API) Drop(r client.GVR, namespace, name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	k := object.Key{Namespace: namespace, Name: name}
	if o, ok := a.objects[r][k]; ok {
		a.revision++
		delete(a.objects[r], k)
		a.tell(r, watch.Event{Type: watch.Deleted, Object: o})
	}
}

func (a *API) tell(r client.GVR, ev watch.Event) {
	for w := range a.watchers {
		if w.r == r && w.selects(ev.Object.(client.Object)) {
			w.send(ev)
		}
	}
}

// Get implements client.Interface.
func (a *API) Get(_ context.Context, r client.GVR, namespace, name string, _ metav1.GetOptions, _ ...string) (client.Object, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if o, ok := a.objects[r][object.Key{Namespace: namespace, Name: name}]; ok {
		return o, nil
	}
	return nil, apierrors.NewNotFound(r.GroupResource(), name)
}

// List implements client.Interface.
func (a *API) List(_ context.Context, r client.GVR, namespace string, o metav1.ListOptions) (*client.List, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	w, err := newWatcher(r, namespace, o)
	if err != nil {
		return nil, err
	}
	l := &client.List{ResourceVersion: strconv.FormatInt(a.revision, 10)}
	for _, obj := range a.objects[r] {
		if w.selects(obj) {
			l.Items = append(l.Items, obj)
		}
	}
	return l, nil
}

// Watch implements client.Interface. Without a resourceVersion, or when asked for, it begins with what is there.
func (a *API) Watch(ctx context.Context, r client.GVR, namespace string, o metav1.ListOptions) (watch.Interface, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	w, err := newWatcher(r, namespace, o)
	if err != nil {
		return nil, err
	}
	w.stop = func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.watchers, w)
	}
	initial := o.SendInitialEvents != nil && *o.SendInitialEvents
	since, _ := strconv.ParseInt(o.ResourceVersion, 10, 64)
	for _, obj := range a.objects[r] {
		rv, _ := strconv.ParseInt(obj.GetResourceVersion(), 10, 64)
		if w.selects(obj) && (initial || rv > since) {
			w.queue = append(w.queue, watch.Event{Type: watch.Added, Object: obj})
		}
	}
	if initial {
		mark := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{ResourceVersion: strconv.FormatInt(a.revision, 10),
			Annotations: map[string]string{metav1.InitialEventsAnnotationKey: "true"}}}
		w.queue = append(w.queue, watch.Event{Type: watch.Bookmark, Object: mark})
	}
	a.watchers[w] = struct{}{}
	go w.run(ctx)
	return w, nil
}

// Create implements client.Interface.
func (a *API) Create(_ context.Context, r client.GVR, obj client.Object, _ metav1.CreateOptions, _ ...string) (client.Object, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.objects[r][object.KeyOf(obj)]; ok {
		return nil, apierrors.NewAlreadyExists(r.GroupResource(), obj.GetName())
	}
	a.Writes++
	obj = obj.DeepCopyObject().(client.Object)
	if t := obj.GetCreationTimestamp(); t.IsZero() {
		obj.SetCreationTimestamp(metav1.Now())
	}
	return a.put(r, obj), nil
}

// Update implements client.Interface.
func (a *API) Update(_ context.Context, r client.GVR, obj client.Object, _ metav1.UpdateOptions, _ ...string) (client.Object, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	have, ok := a.objects[r][object.KeyOf(obj)]
	if !ok {
		return nil, apierrors.NewNotFound(r.GroupResource(), obj.GetName())
	}
	if rv := obj.GetResourceVersion(); rv != "" && rv != have.GetResourceVersion() {
		return nil, apierrors.NewConflict(r.GroupResource(), obj.GetName(), fmt.Errorf("changed meanwhile"))
	}
	a.Writes++
	return a.put(r, obj), nil
}

// Delete implements client.Interface.
func (a *API) Delete(_ context.Context, r client.GVR, namespace, name string, _ metav1.DeleteOptions) error {
	a.Drop(r, namespace, name)
	return nil
}

// Patch implements client.Interface for JSON merge patches.
func (a *API) Patch(_ context.Context, r client.GVR, namespace, name string, t types.PatchType, data []byte, _ metav1.PatchOptions, _ ...string) (client.Object, error) {
	if t != types.MergePatchType {
		return nil, apierrors.NewMethodNotSupported(r.GroupResource(), "patch")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	have, ok := a.objects[r][object.Key{Namespace: namespace, Name: name}]
	if !ok {
		return nil, apierrors.NewNotFound(r.GroupResource(), name)
	}
	next, err := patched(have, data)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	if next.GetUID() != have.GetUID() || next.GetResourceVersion() != have.GetResourceVersion() {
		return nil, apierrors.NewConflict(r.GroupResource(), name, fmt.Errorf("it is another object"))
	}
	a.Writes++
	return a.put(r, next), nil
}

func patched(o client.Object, patch []byte) (client.Object, error) {
	before, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	after, err := jsonpatch.MergePatch(before, patch)
	if err != nil {
		return nil, err
	}
	next := reflect.New(reflect.TypeOf(o).Elem()).Interface().(client.Object)
	return next, json.Unmarshal(after, next)
}

// DeleteCollection is not offered.
func (a *API) DeleteCollection(_ context.Context, r client.GVR, _ string, _ metav1.DeleteOptions, _ metav1.ListOptions) error {
	return apierrors.NewMethodNotSupported(r.GroupResource(), "deletecollection")
}

// Resources names none.
func (a *API) Resources(context.Context) ([]metav1.APIResource, error) { return nil, nil }

// OpenAPI has no documents.
func (a *API) OpenAPI(_ context.Context, gv schema.GroupVersion) ([]byte, error) {
	return nil, apierrors.NewNotFound(schema.GroupResource{}, gv.String())
}

type watcher struct {
	r         client.GVR
	namespace string
	fields    fields.Selector
	out       chan watch.Event
	done      chan struct{}
	once      sync.Once
	stop      func()

	mu    sync.Mutex
	queue []watch.Event
	wake  chan struct{}
}

func newWatcher(r client.GVR, namespace string, o metav1.ListOptions) (*watcher, error) {
	s, err := fields.ParseSelector(o.FieldSelector)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	return &watcher{r: r, namespace: namespace, fields: s, out: make(chan watch.Event), done: make(chan struct{}), wake: make(chan struct{}, 1)}, nil
}

func (w *watcher) selects(o client.Object) bool {
	if w.namespace != "" && o.GetNamespace() != w.namespace {
		return false
	}
	set := fields.Set{"metadata.name": o.GetName(), "metadata.namespace": o.GetNamespace()}
	if p, ok := o.(*corev1.Pod); ok {
		set["spec.nodeName"] = p.Spec.NodeName
	}
	return w.fields.Matches(set)
}

func (w *watcher) send(ev watch.Event) {
	w.mu.Lock()
	w.queue = append(w.queue, ev)
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *watcher) run(ctx context.Context) {
	defer close(w.out)
	defer w.stop()
	for {
		w.mu.Lock()
		queue := w.queue
		w.queue = nil
		w.mu.Unlock()
		for _, ev := range queue {
			select {
			case w.out <- ev:
			case <-w.done:
				return
			case <-ctx.Done():
				return
			}
		}
		if len(queue) > 0 {
			continue
		}
		select {
		case <-w.wake:
		case <-w.done:
			return
		case <-ctx.Done():
			return
		}
	}
}

func (w *watcher) Stop()                          { w.once.Do(func() { close(w.done) }) }
func (w *watcher) ResultChan() <-chan watch.Event { return w.out }
