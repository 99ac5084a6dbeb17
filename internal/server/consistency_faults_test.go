package server_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"hyperkube/internal/client"
	"hyperkube/internal/server/consistency"
)

// faulty is a server that now and then does what it must not.
type faulty struct {
	client.Interface
	event func(n int, e watch.Event) []watch.Event
	lists bool // are answered from an answer of before

	mu  sync.Mutex
	old *client.List
}

func (f *faulty) Watch(ctx context.Context, r client.GVR, namespace string, o metav1.ListOptions) (watch.Interface, error) {
	w, err := f.Interface.Watch(ctx, r, namespace, o)
	if err != nil || f.event == nil {
		return w, err
	}
	out := make(chan watch.Event)
	p := watch.NewProxyWatcher(out)
	go func() {
		defer close(out)
		defer w.Stop()
		for n := 0; ; n++ {
			select {
			case e, ok := <-w.ResultChan():
				if !ok {
					return
				}
				for _, e := range f.event(n, e) {
					select {
					case out <- e:
					case <-p.StopChan():
						return
					}
				}
			case <-p.StopChan():
				return
			}
		}
	}()
	return p, nil
}

func (f *faulty) List(ctx context.Context, r client.GVR, namespace string, o metav1.ListOptions) (*client.List, error) {
	l, err := f.Interface.List(ctx, r, namespace, o)
	if err != nil || !f.lists || o.ResourceVersion != "" || o.LabelSelector != "" || o.Limit != 0 || o.Continue != "" {
		return l, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.old == nil {
		f.old = l
	}
	return f.old, nil
}

// TestConsistencyFindsFaults is the same storm before servers that have a fault, which must be found and named.
func TestConsistencyFindsFaults(t *testing.T) {
	change := func(e watch.Event) bool {
		return e.Type == watch.Added || e.Type == watch.Modified || e.Type == watch.Deleted
	}
	for name, c := range map[string]struct {
		event func(n int, e watch.Event) []watch.Event
		lists bool
		want  error
	}{
		"an event is left out": {event: func(n int, e watch.Event) []watch.Event {
			if o, ok := e.Object.(client.Object); n%40 == 39 && change(e) && ok && o.GetName() != fence {
				return nil
			}
			return []watch.Event{e}
		}, want: consistency.ErrEventLost},
		"an event comes twice": {event: func(n int, e watch.Event) []watch.Event {
			if n%40 == 39 && change(e) {
				return []watch.Event{e, e}
			}
			return []watch.Event{e}
		}, want: consistency.ErrEventDoubled},
		"lists are old": {lists: true, want: consistency.ErrListStale},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRun(t, func(to client.Interface) client.Interface {
				return &faulty{Interface: to, event: c.event, lists: c.lists}
			})
			for _, err := range r.storm(1500 * time.Millisecond) {
				if errors.Is(err, c.want) {
					return
				}
			}
			t.Errorf("not found: %v", c.want)
		})
	}
}
