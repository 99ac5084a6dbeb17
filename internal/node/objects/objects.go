// Package objects keeps the config maps and secrets that this node's pods refer to, and nothing else: each is
// watched by its name, as the node authorizer demands, for as long as a pod holds it.
//
// [Cache.Hold] starts the watches of a pod and [Cache.Release] ends those that no other pod holds.
// Reads come from the watch once it has seen the object; before that, and when the object is not there,
// they ask the server, so that a pod never fails for an object made a moment before it.
// An immutable object is not watched any longer than it takes to see it. Changes are told to the holders, by UID.
package objects

import (
	"context"
	"errors"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"hyperkube/internal/client"
)

// readTimeout bounds one question to the server.
const readTimeout = 10 * time.Second

// ErrStandalone answers every read of a kubelet that has no API server.
var ErrStandalone = errors.New("this node runs without an API server")

// Cache of config maps and secrets. Safe for concurrent use.
type Cache struct {
	c         client.Interface
	informers *client.Informers
	changed   func(pod types.UID)

	mu    sync.Mutex
	items map[ref]*item
	held  map[types.UID]map[ref]bool
}

type item struct {
	holders map[types.UID]bool
	cm      *client.Informer[*corev1.ConfigMap]
	sec     *client.Informer[*corev1.Secret]
	fixed   client.Object // an immutable object, not watched any more
}

// New makes a cache. changed is called for every pod that holds an object that changed; it must not block.
// informers must have been started, or be started soon. A nil client makes every read ErrStandalone.
func New(c client.Interface, informers *client.Informers, changed func(pod types.UID)) *Cache {
	return &Cache{c: c, informers: informers, changed: changed,
		items: map[ref]*item{}, held: map[types.UID]map[ref]bool{}}
}

// Hold begins to watch what the pod refers to. Calling it again with a newer pod adds and drops what differs.
func (o *Cache) Hold(pod *corev1.Pod) {
	if o.c == nil {
		return
	}
	want := refsOf(pod)
	o.mu.Lock()
	defer o.mu.Unlock()
	have := o.held[pod.UID]
	for r := range want {
		if !have[r] {
			o.hold(r, pod.UID)
		}
	}
	for r := range have {
		if !want[r] {
			o.release(r, pod.UID)
		}
	}
	o.held[pod.UID] = want
}

// Release drops what a pod held.
func (o *Cache) Release(uid types.UID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for r := range o.held[uid] {
		o.release(r, uid)
	}
	delete(o.held, uid)
}

func (o *Cache) hold(r ref, uid types.UID) {
	it := o.items[r]
	if it == nil {
		it = &item{holders: map[types.UID]bool{}}
		o.items[r] = it
		o.watch(r, it)
	}
	it.holders[uid] = true
}

func (o *Cache) release(r ref, uid types.UID) {
	it := o.items[r]
	if it == nil {
		return
	}
	delete(it.holders, uid)
	if len(it.holders) == 0 {
		it.stop()
		delete(o.items, r)
	}
}

func (it *item) stop() {
	if it.cm != nil {
		it.cm.Stop()
	}
	if it.sec != nil {
		it.sec.Stop()
	}
	it.cm, it.sec = nil, nil
}

func (o *Cache) watch(r ref, it *item) {
	sel := client.Select{Namespace: r.Namespace, Fields: "metadata.name=" + r.Name}
	// The handlers run on the informer's goroutine and take the lock, so they are added without it.
	if r.secret {
		it.sec = client.InformerWith(o.informers, client.Secrets, sel)
		go it.sec.OnChange(func(old, new *corev1.Secret) {
			o.tell(r, it, old != nil, new, new != nil && new.Immutable != nil && *new.Immutable)
		})
		return
	}
	it.cm = client.InformerWith(o.informers, client.ConfigMaps, sel)
	go it.cm.OnChange(func(old, new *corev1.ConfigMap) {
		o.tell(r, it, old != nil, new, new != nil && new.Immutable != nil && *new.Immutable)
	})
}

// tell the holders of a change.
func (o *Cache) tell(r ref, it *item, known bool, obj client.Object, immutable bool) {
	o.mu.Lock()
	if o.items[r] != it {
		o.mu.Unlock()
		return
	}
	if immutable && it.fixed == nil {
		it.fixed = obj
		cm, sec := it.cm, it.sec
		it.cm, it.sec = nil, nil
		go func() { (&item{cm: cm, sec: sec}).stop() }()
	}
	holders := make([]types.UID, 0, len(it.holders))
	for uid := range it.holders {
		holders = append(holders, uid)
	}
	o.mu.Unlock()
	for _, uid := range holders {
		o.changed(uid)
	}
}

// ConfigMap reads one.
func (o *Cache) ConfigMap(namespace, name string) (*corev1.ConfigMap, error) {
	return read(o, client.ConfigMaps, ref{false, keyOf(namespace, name)}, func(it *item) *client.Informer[*corev1.ConfigMap] { return it.cm })
}

// Secret reads one.
func (o *Cache) Secret(namespace, name string) (*corev1.Secret, error) {
	return read(o, client.Secrets, ref{true, keyOf(namespace, name)}, func(it *item) *client.Informer[*corev1.Secret] { return it.sec })
}

func read[T client.Object](o *Cache, res client.Resource[T], r ref, informer func(*item) *client.Informer[T]) (T, error) {
	var none T
	if o.c == nil {
		return none, ErrStandalone
	}
	o.mu.Lock()
	var inf *client.Informer[T]
	if it := o.items[r]; it != nil {
		if t, ok := it.fixed.(T); ok {
			o.mu.Unlock()
			return t, nil
		}
		inf = informer(it)
	}
	o.mu.Unlock()
	if inf != nil {
		if obj, ok := inf.Get(r.Namespace, r.Name); ok {
			return obj, nil
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
	defer cancel()
	return res.Get(ctx, o.c, r.Namespace, r.Name)
}
