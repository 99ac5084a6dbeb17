package node_test

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apimachinery/pkg/watch"

	"hyperkube/internal/client"
)

// memAPI is as much of an API as a kubelet needs, in memory: objects, versions, watches by field and graceful deletion of pods.
type memAPI struct {
	client.Interface
	mu       sync.Mutex
	rev      int64
	objects  map[string]client.Object // by resource/namespace/name
	watchers map[*memWatch]bool
}

func newMemAPI() *memAPI {
	return &memAPI{objects: map[string]client.Object{}, watchers: map[*memWatch]bool{}}
}

type memWatch struct {
	api      *memAPI
	resource string
	ns       string
	fields   string
	ch       chan watch.Event
}

func (w *memWatch) ResultChan() <-chan watch.Event { return w.ch }
func (w *memWatch) Stop() {
	w.api.mu.Lock()
	defer w.api.mu.Unlock()
	if w.api.watchers[w] {
		delete(w.api.watchers, w)
		close(w.ch)
	}
}

func key(r client.GVR, ns, name string) string { return r.Resource + "/" + ns + "/" + name }

func selected(o client.Object, ns, fields string) bool {
	if ns != "" && o.GetNamespace() != ns {
		return false
	}
	for _, f := range strings.Split(fields, ",") {
		name, value, _ := strings.Cut(f, "=")
		switch name {
		case "metadata.name":
			if o.GetName() != value {
				return false
			}
		case "spec.nodeName":
			if p, ok := o.(*corev1.Pod); !ok || p.Spec.NodeName != value {
				return false
			}
		}
	}
	return true
}

// put stores an object and tells of it. a.mu is held.
func (a *memAPI) put(r client.GVR, o client.Object, t watch.EventType) client.Object {
	a.rev++
	o.SetResourceVersion(strconv.FormatInt(a.rev, 10))
	k := key(r, o.GetNamespace(), o.GetName())
	if t == watch.Deleted {
		delete(a.objects, k)
	} else {
		a.objects[k] = o
	}
	for w := range a.watchers {
		if w.resource == r.Resource && selected(o, w.ns, w.fields) {
			w.ch <- watch.Event{Type: t, Object: o}
		}
	}
	return o
}

func (a *memAPI) Get(_ context.Context, r client.GVR, ns, name string, _ metav1.GetOptions, _ ...string) (client.Object, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if o := a.objects[key(r, ns, name)]; o != nil {
		return o, nil
	}
	return nil, apierrors.NewNotFound(r.GroupResource(), name)
}

func (a *memAPI) List(_ context.Context, r client.GVR, ns string, o metav1.ListOptions) (*client.List, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	l := &client.List{ResourceVersion: strconv.FormatInt(a.rev, 10)}
	for k, obj := range a.objects {
		if strings.HasPrefix(k, r.Resource+"/") && selected(obj, ns, o.FieldSelector) {
			l.Items = append(l.Items, obj)
		}
	}
	return l, nil
}

func (a *memAPI) Watch(_ context.Context, r client.GVR, ns string, o metav1.ListOptions) (watch.Interface, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	w := &memWatch{api: a, resource: r.Resource, ns: ns, fields: o.FieldSelector, ch: make(chan watch.Event, 10000)}
	a.watchers[w] = true
	from, _ := strconv.ParseInt(o.ResourceVersion, 10, 64)
	for k, obj := range a.objects { // what changed between the list and now
		rv, _ := strconv.ParseInt(obj.GetResourceVersion(), 10, 64)
		if rv > from && strings.HasPrefix(k, r.Resource+"/") && selected(obj, ns, o.FieldSelector) {
			w.ch <- watch.Event{Type: watch.Modified, Object: obj}
		}
	}
	return w, nil
}

func (a *memAPI) Create(_ context.Context, r client.GVR, obj client.Object, _ metav1.CreateOptions, sub ...string) (client.Object, error) {
	if t, ok := obj.(*authenticationv1.TokenRequest); ok {
		out := t.DeepCopy()
		out.Status = authenticationv1.TokenRequestStatus{Token: "token of " + t.Name, ExpirationTimestamp: metav1.NewTime(time.Now().Add(time.Hour))}
		return out, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.objects[key(r, obj.GetNamespace(), obj.GetName())] != nil {
		return nil, apierrors.NewAlreadyExists(r.GroupResource(), obj.GetName())
	}
	o := obj.DeepCopyObject().(client.Object)
	o.SetUID(uuid.NewUUID())
	o.SetGeneration(1)
	o.SetCreationTimestamp(metav1.Now())
	return a.put(r, o, watch.Added), nil
}

func (a *memAPI) Update(_ context.Context, r client.GVR, obj client.Object, _ metav1.UpdateOptions, _ ...string) (client.Object, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	old := a.objects[key(r, obj.GetNamespace(), obj.GetName())]
	if old == nil {
		return nil, apierrors.NewNotFound(r.GroupResource(), obj.GetName())
	}
	o := obj.DeepCopyObject().(client.Object)
	if _, pod := o.(*corev1.Pod); pod {
		o.SetGeneration(old.GetGeneration() + 1)
	}
	return a.put(r, o, watch.Modified), nil
}

func (a *memAPI) Patch(_ context.Context, r client.GVR, ns, name string, t types.PatchType, data []byte, _ metav1.PatchOptions, _ ...string) (client.Object, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	old := a.objects[key(r, ns, name)]
	if old == nil {
		return nil, apierrors.NewNotFound(r.GroupResource(), name)
	}
	if t != types.StrategicMergePatchType {
		return nil, fmt.Errorf("patch type %s", t)
	}
	before, err := json.Marshal(old)
	if err != nil {
		return nil, err
	}
	var id struct{ Metadata struct{ UID types.UID } }
	if err := json.Unmarshal(data, &id); err != nil {
		return nil, err
	}
	if id.Metadata.UID != "" && id.Metadata.UID != old.GetUID() {
		return nil, apierrors.NewConflict(r.GroupResource(), name, fmt.Errorf("another UID"))
	}
	o := reflect.New(reflect.TypeOf(old).Elem()).Interface().(client.Object)
	after, err := strategicpatch.StrategicMergePatch(before, data, o)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(after, o); err != nil {
		return nil, err
	}
	return a.put(r, o, watch.Modified), nil
}

func (a *memAPI) Delete(_ context.Context, r client.GVR, ns, name string, d metav1.DeleteOptions) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	old := a.objects[key(r, ns, name)]
	if old == nil || d.Preconditions != nil && *d.Preconditions.UID != old.GetUID() {
		return apierrors.NewNotFound(r.GroupResource(), name)
	}
	o := old.DeepCopyObject().(client.Object)
	if p, ok := o.(*corev1.Pod); ok && p.Spec.NodeName != "" {
		grace := int64(30)
		if p.Spec.TerminationGracePeriodSeconds != nil {
			grace = *p.Spec.TerminationGracePeriodSeconds
		}
		if d.GracePeriodSeconds != nil {
			grace = *d.GracePeriodSeconds
		}
		if grace > 0 {
			now := metav1.Now()
			p.DeletionTimestamp, p.DeletionGracePeriodSeconds = &now, &grace
			a.put(r, p, watch.Modified)
			return nil
		}
	}
	a.put(r, o, watch.Deleted)
	return nil
}
