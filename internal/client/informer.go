package client

import (
	"context"
	"sync"

	"hyperkube/internal/object"
)

// Select narrows what an informer keeps. The zero value is everything.
type Select struct {
	Namespace string
	Labels    string // label selector, as in a URL
	Fields    string // field selector
}

// Informers keeps one local copy for each resource and selection that somebody asked for, however many ask.
// It is safe for concurrent use.
type Informers struct {
	c   Interface
	mu  sync.Mutex
	ctx context.Context // nil until Start
	all map[informerKey]*informer
}

type informerKey struct {
	r GVR
	s Select
}

// NewInformers makes an empty set over c. Nothing is read before Start.
func NewInformers(c Interface) *Informers {
	return &Informers{c: c, all: map[informerKey]*informer{}}
}

// Start begins to list and watch for every informer asked for so far; those asked for later start at
// once. All of them end with ctx. Only the first call counts.
func (f *Informers) Start(ctx context.Context) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ctx != nil {
		return
	}
	f.ctx = ctx
	for _, i := range f.all {
		i.start(ctx)
	}
}

// WaitForSync waits until every informer asked for so far has seen a whole list.
func (f *Informers) WaitForSync(ctx context.Context) error {
	f.mu.Lock()
	all := make([]*informer, 0, len(f.all))
	for _, i := range f.all {
		all = append(all, i)
	}
	f.mu.Unlock()
	for _, i := range all {
		select {
		case <-i.synced:
		case <-i.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (f *Informers) get(r GVR, s Select) *informer {
	f.mu.Lock()
	defer f.mu.Unlock()
	k := informerKey{r, s}
	if i := f.all[k]; i != nil {
		return i
	}
	i := newInformer(f, k)
	f.all[k] = i
	if f.ctx != nil {
		i.start(f.ctx)
	}
	return i
}

// Any is the informer of a resource whose Go type does not matter or is not known.
func (f *Informers) Any(r GVR) *Informer[Object] { return &Informer[Object]{f.get(r, Select{})} }

// InformerFor is the shared informer of a whole resource.
func InformerFor[T Object](f *Informers, r Resource[T]) *Informer[T] {
	return &Informer[T]{f.get(r.GVR, Select{})}
}

// InformerWith is the shared informer of a part of a resource.
func InformerWith[T Object](f *Informers, r Resource[T], s Select) *Informer[T] {
	return &Informer[T]{f.get(r.GVR, s)}
}

// Informer is a local copy of a resource that follows the server. What it returns is shared and must
// not be changed.
type Informer[T Object] struct{ i *informer }

// HasSynced says whether a whole list has been seen and told to all handlers.
func (n *Informer[T]) HasSynced() bool {
	select {
	case <-n.i.synced:
		return true
	default:
		return false
	}
}

// WaitForSync waits for HasSynced.
func (n *Informer[T]) WaitForSync(ctx context.Context) error {
	select {
	case <-n.i.synced:
		return nil
	case <-n.i.done:
		return context.Canceled
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Get one object.
func (n *Informer[T]) Get(namespace, name string) (T, bool) {
	n.i.mu.RLock()
	defer n.i.mu.RUnlock()
	t, ok := n.i.items[object.Key{Namespace: namespace, Name: name}].(T)
	return t, ok
}

// Len counts the objects.
func (n *Informer[T]) Len() int {
	n.i.mu.RLock()
	defer n.i.mu.RUnlock()
	return len(n.i.items)
}

// List gives every object, in no order.
func (n *Informer[T]) List() []T {
	n.i.mu.RLock()
	defer n.i.mu.RUnlock()
	return collect[T](n.i.items)
}

// InNamespace gives the objects of one namespace, in no order. The first call builds an index.
func (n *Informer[T]) InNamespace(namespace string) []T {
	n.i.addIndex(namespaceIndex, func(o Object) []string { return []string{o.GetNamespace()} })
	return n.ByIndex(namespaceIndex, namespace)
}

const namespaceIndex = "\x00namespace"

// AddIndex keeps the objects findable by the values that f gives for each. A second index of the
// same name is ignored, so every user of a shared informer may ask for it.
func (n *Informer[T]) AddIndex(name string, f func(T) []string) {
	n.i.addIndex(name, func(o Object) []string {
		t, ok := o.(T)
		if !ok {
			return nil
		}
		return f(t)
	})
}

// ByIndex gives the objects that have value in an index made by AddIndex, in no order.
func (n *Informer[T]) ByIndex(name, value string) []T {
	n.i.mu.RLock()
	defer n.i.mu.RUnlock()
	x := n.i.indexes[name]
	if x == nil {
		return nil
	}
	return collect[T](x.values[value])
}

// OnChange calls f for every change, in the order in which the server made them: old is the zero T for a new
// object, new for a deleted one. After a gap in the watch the differences are told one by one. Objects that are
// there already are told before OnChange returns. f must not block and must not call OnChange.
func (n *Informer[T]) OnChange(f func(old, new T)) {
	n.i.onChange(func(old, new Object) {
		o, _ := old.(T)
		w, _ := new.(T)
		f(o, w)
	})
}

// Stop ends the informer and forgets it: the next one who asks gets a new one. For informers of
// single objects that nobody needs any more; never for one that others share.
func (n *Informer[T]) Stop() { n.i.stop() }

func collect[T Object](m map[object.Key]Object) []T {
	out := make([]T, 0, len(m))
	for _, o := range m {
		if t, ok := o.(T); ok {
			out = append(out, t)
		}
	}
	return out
}
