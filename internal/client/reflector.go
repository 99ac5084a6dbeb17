package client

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"hyperkube/internal/lifecycle"
	"hyperkube/internal/object"
)

// informer follows one resource: list, then watch from there, and again when the
// watch cannot be resumed. One goroutine changes it.
type informer struct {
	set    *Informers
	key    informerKey
	synced chan struct{}
	done   chan struct{} // closed when it was stopped
	once   sync.Once
	cancel context.CancelFunc

	// deliver is held while a change is applied and told, so that a new handler
	// sees each object exactly once and in order.
	deliver  sync.Mutex
	handlers []func(old, new Object)
	progress progress

	mu      sync.RWMutex
	items   map[object.Key]Object
	indexes map[string]*index
}

type index struct {
	of     func(Object) []string
	values map[string]map[object.Key]Object
}

const (
	retryMin = 50 * time.Millisecond
	retryMax = 20 * time.Second
)

func newInformer(f *Informers, k informerKey) *informer {
	return &informer{
		set: f, key: k,
		synced: make(chan struct{}), done: make(chan struct{}),
		items: map[object.Key]Object{}, indexes: map[string]*index{},
	}
}

func (i *informer) start(ctx context.Context) {
	if i.cancel != nil {
		return
	}
	ctx, i.cancel = context.WithCancel(ctx)
	go i.run(ctx)
}

func (i *informer) stop() {
	i.set.mu.Lock()
	if i.set.all[i.key] == i {
		delete(i.set.all, i.key)
	}
	cancel := i.cancel
	i.set.mu.Unlock()
	if cancel != nil {
		cancel()
	}
	i.once.Do(func() { close(i.done) })
}

func (i *informer) run(ctx context.Context) {
	log := slog.Default().With("component", "informer", "resource", i.key.r.Resource)
	wait := newBackoff(retryMin, retryMax)
	version := "0"
	for ctx.Err() == nil {
		rv, err := i.list(ctx, version)
		if err != nil {
			if ctx.Err() == nil {
				// The first failures of a start are usual; one that lasts is somebody's business.
				log.Log(ctx, wait.level(), "list failed", "error", err)
				wait.sleep(ctx, i.set.c)
			}
			version = ""
			continue
		}
		wait.reset()
		err = i.follow(ctx, rv, wait)
		if ctx.Err() == nil {
			log.Debug("watch ended, listing again", "error", err)
			wait.sleep(ctx, i.set.c)
		}
		version = ""
	}
}

func (i *informer) options(rv string) metav1.ListOptions {
	return metav1.ListOptions{ResourceVersion: rv, LabelSelector: i.key.s.Labels, FieldSelector: i.key.s.Fields}
}

func (i *informer) list(ctx context.Context, rv string) (string, error) {
	l, err := i.set.c.List(ctx, i.key.r, i.key.s.Namespace, i.options(rv))
	if err != nil {
		return "", err
	}
	fresh := make(map[object.Key]Object, len(l.Items))
	for _, o := range l.Items {
		fresh[object.KeyOf(o)] = o
	}
	i.deliver.Lock()
	defer i.deliver.Unlock()
	for k, old := range i.items {
		if fresh[k] == nil {
			i.apply(k, old, nil)
		}
	}
	for _, o := range l.Items {
		k := object.KeyOf(o)
		if old := i.items[k]; old == nil || old.GetResourceVersion() != o.GetResourceVersion() {
			i.apply(k, old, o)
		}
	}
	i.progress.reach(l.ResourceVersion)
	select {
	case <-i.synced:
	default:
		close(i.synced)
	}
	return l.ResourceVersion, nil
}

// follow watches from rv until the place in history is lost (nil) or ctx ends.
func (i *informer) follow(ctx context.Context, rv string, wait *backoff) error {
	for ctx.Err() == nil {
		o := i.options(rv)
		o.AllowWatchBookmarks = true
		timeout := int64(300 + rand.IntN(300))
		o.TimeoutSeconds = &timeout
		began := time.Now()
		w, err := i.set.c.Watch(ctx, i.key.r, i.key.s.Namespace, o)
		if err == nil {
			rv, err = i.drain(ctx, w, rv)
			w.Stop()
		}
		switch {
		case apierrors.IsResourceExpired(err) || apierrors.IsGone(err) || apierrors.IsNotFound(err):
			return err
		case err != nil || time.Since(began) < time.Second:
			wait.sleep(ctx, i.set.c)
		default:
			wait.reset()
		}
	}
	return ctx.Err()
}

func (i *informer) drain(ctx context.Context, w watch.Interface, rv string) (string, error) {
	for {
		select {
		case <-ctx.Done():
			return rv, ctx.Err()
		case e, ok := <-w.ResultChan():
			if !ok {
				return rv, nil
			}
			if e.Type == watch.Error {
				return rv, apierrors.FromObject(e.Object)
			}
			o, ok := e.Object.(Object)
			if !ok {
				return rv, errors.New("watch event without an object")
			}
			rv = o.GetResourceVersion()
			if e.Type != watch.Bookmark {
				i.event(e.Type, o)
			}
			i.progress.reach(rv)
		}
	}
}

func (i *informer) event(t watch.EventType, o Object) {
	i.deliver.Lock()
	defer i.deliver.Unlock()
	k := object.KeyOf(o)
	old := i.items[k]
	if t != watch.Deleted {
		i.apply(k, old, o)
	} else if old != nil {
		i.apply(k, o, nil)
	}
}

// apply stores one change and tells it. deliver is held; only the informer's goroutine writes items, so
// reading them here needs no lock.
func (i *informer) apply(k object.Key, old, new Object) {
	i.mu.Lock()
	stored := i.items[k]
	for _, x := range i.indexes {
		x.replace(k, stored, new)
	}
	if new == nil {
		delete(i.items, k)
	} else {
		i.items[k] = new
	}
	i.mu.Unlock()
	for _, h := range i.handlers {
		i.tell(h, old, new)
	}
}

// tell calls a handler. One that panics over an object must not take the process, and the other handlers, with it.
func (i *informer) tell(h func(old, new Object), old, new Object) {
	err := lifecycle.Guard(func() error {
		h(old, new)
		return nil
	})
	if err != nil {
		slog.Default().Error("a handler of changes failed", "component", "informer", "resource", i.key.r.Resource, "error", err)
	}
}

func (i *informer) onChange(h func(old, new Object)) {
	i.deliver.Lock()
	defer i.deliver.Unlock()
	i.handlers = append(i.handlers, h)
	for _, o := range i.items {
		i.tell(h, nil, o)
	}
}

func (i *informer) addIndex(name string, of func(Object) []string) {
	i.mu.RLock()
	known := i.indexes[name] != nil
	i.mu.RUnlock()
	if known {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.indexes[name] != nil {
		return
	}
	x := &index{of: of, values: map[string]map[object.Key]Object{}}
	for k, o := range i.items {
		x.replace(k, nil, o)
	}
	i.indexes[name] = x
}

func (x *index) replace(k object.Key, old, new Object) {
	if old != nil {
		for _, v := range x.of(old) {
			delete(x.values[v], k)
			if len(x.values[v]) == 0 {
				delete(x.values, v)
			}
		}
	}
	if new != nil {
		for _, v := range x.of(new) {
			if x.values[v] == nil {
				x.values[v] = map[object.Key]Object{}
			}
			x.values[v][k] = new
		}
	}
}

// backoff doubles a wait with jitter up to a limit.
type backoff struct{ min, max, next time.Duration }

func newBackoff(min, max time.Duration) *backoff { return &backoff{min, max, min} }

// level of a failure: of interest to all only when it has lasted for about a second.
func (b *backoff) level() slog.Level {
	if b.next < time.Second {
		return slog.LevelDebug
	}
	return slog.LevelWarn
}

func (b *backoff) reset() { b.next = b.min }

func (b *backoff) sleep(ctx context.Context, c Interface) {
	d := b.next/2 + rand.N(b.next/2+1)
	b.next = min(2*b.next, b.max)
	Wait(ctx, c, d)
}
