package proxy

import (
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"hyperkube/internal/network/plan"
)

// serviceKey names a Service.
type serviceKey struct{ namespace, name string }

// tracker holds what the API says, and which Services changed since the last look. Its callers may be several goroutines.
type tracker struct {
	mu       sync.Mutex
	services map[serviceKey]*corev1.Service
	slices   map[serviceKey]map[string]*discoveryv1.EndpointSlice
	dirty    map[serviceKey]bool
	// triggers are the times at which endpoints changed, oldest first, for the programming latency.
	triggers map[serviceKey][]time.Time
	wake     chan struct{}
}

func newTracker() *tracker {
	return &tracker{
		services: map[serviceKey]*corev1.Service{},
		slices:   map[serviceKey]map[string]*discoveryv1.EndpointSlice{},
		dirty:    map[serviceKey]bool{},
		triggers: map[serviceKey][]time.Time{},
		wake:     make(chan struct{}, 1),
	}
}

func (t *tracker) mark(k serviceKey) {
	t.dirty[k] = true
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// service takes a change of a Service; new is nil when it is gone.
func (t *tracker) service(old, new *corev1.Service) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := new
	if s == nil {
		s = old
	}
	k := serviceKey{s.Namespace, s.Name}
	if new != nil && plan.Proxied(new) {
		t.services[k] = new
	} else if _, had := t.services[k]; !had {
		return
	} else {
		delete(t.services, k)
	}
	t.mark(k)
}

// slice takes a change of an EndpointSlice; new is nil when it is gone.
func (t *tracker) slice(old, new *discoveryv1.EndpointSlice) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if old != nil {
		k := sliceOwner(old)
		if new == nil || sliceOwner(new) != k {
			delete(t.slices[k], old.Name)
			if len(t.slices[k]) == 0 {
				delete(t.slices, k)
			}
			t.mark(k)
		}
	}
	if new == nil {
		return
	}
	k := sliceOwner(new)
	if k.name == "" {
		return
	}
	if _, headless := new.Labels[corev1.IsHeadlessService]; headless {
		return
	}
	if t.slices[k] == nil {
		t.slices[k] = map[string]*discoveryv1.EndpointSlice{}
	}
	t.slices[k][new.Name] = new
	if at, err := time.Parse(time.RFC3339Nano, new.Annotations[corev1.EndpointsLastChangeTriggerTime]); err == nil && changedTrigger(old, new) {
		t.triggers[k] = append(t.triggers[k], at)
	}
	t.mark(k)
}

func changedTrigger(old, new *discoveryv1.EndpointSlice) bool {
	const a = corev1.EndpointsLastChangeTriggerTime
	return old == nil || old.Annotations[a] != new.Annotations[a]
}

func sliceOwner(s *discoveryv1.EndpointSlice) serviceKey {
	return serviceKey{s.Namespace, s.Labels[discoveryv1.LabelServiceName]}
}

// state is what the API says of one Service.
type state struct {
	key     serviceKey
	service *corev1.Service // nil if it is not to be served
	slices  []*discoveryv1.EndpointSlice
}

// changes is what happened since the last look.
type changes struct {
	states   []state
	triggers []time.Time
}

// take gives the Services that changed, or all if all is set, and starts anew.
func (t *tracker) take(all bool) changes {
	t.mu.Lock()
	defer t.mu.Unlock()
	var c changes
	keys := t.dirty
	if all {
		for k := range t.services {
			keys[k] = true
		}
	}
	for k := range keys {
		s := state{key: k, service: t.services[k]}
		if s.service != nil {
			for _, sl := range t.slices[k] {
				s.slices = append(s.slices, sl)
			}
		}
		c.states = append(c.states, s)
		if s.service != nil {
			c.triggers = append(c.triggers, t.triggers[k]...)
		}
	}
	t.dirty = map[serviceKey]bool{}
	clear(t.triggers)
	return c
}
