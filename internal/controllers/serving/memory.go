package serving

import (
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"

	"hyperkube/internal/controllers/podset"
	"hyperkube/internal/object"
)

// TrackFor is how long a write is waited for. One that has not come into the cache by then was undone
// while the watch was cut.
const TrackFor = 30 * time.Second

// Tracker remembers the slices that were written for each service until the cache shows them, since slices are named
// by the server: to create one again because the cache is behind would make two.
type Tracker struct {
	mu sync.Mutex
	m  map[object.Key]map[types.UID]tracked
}

type tracked struct {
	version uint64 // resourceVersion written
	gone    bool
	at      time.Time
}

// NewTracker makes an empty one.
func NewTracker() *Tracker { return &Tracker{m: map[object.Key]map[types.UID]tracked{}} }

// Wrote is told of a slice created or updated for a service, Removed of one deleted.
func (t *Tracker) Wrote(service object.Key, s *discoveryv1.EndpointSlice, now time.Time) {
	t.put(service, s.UID, tracked{version: version(s), at: now})
}

// Removed is told of a slice deleted.
func (t *Tracker) Removed(service object.Key, s *discoveryv1.EndpointSlice, now time.Time) {
	t.put(service, s.UID, tracked{gone: true, at: now})
}

func (t *Tracker) put(service object.Key, uid types.UID, x tracked) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.m[service] == nil {
		t.m[service] = map[types.UID]tracked{}
	}
	t.m[service][uid] = x
}

// Vanished is told of a slice that the cache shows as deleted.
func (t *Tracker) Vanished(service object.Key, uid types.UID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.m[service], uid)
}

// Forget drops a service.
func (t *Tracker) Forget(service object.Key) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.m, service)
}

// Behind says whether the slices in the cache are older than what was written.
func (t *Tracker) Behind(service object.Key, cached []*discoveryv1.EndpointSlice, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	open := t.m[service]
	if len(open) == 0 {
		return false
	}
	have := make(map[types.UID]uint64, len(cached))
	for _, s := range cached {
		have[s.UID] = version(s)
	}
	for uid, x := range open {
		v, ok := have[uid]
		if now.Sub(x.at) > TrackFor || (x.gone && !ok) || (!x.gone && ok && v >= x.version) {
			delete(open, uid)
		}
	}
	return len(open) > 0
}

// version of a slice; the API promises numbers that grow (KEP-5504).
func version(s *discoveryv1.EndpointSlice) uint64 {
	n, err := strconv.ParseUint(s.ResourceVersion, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// Triggers remember for each service when its pods last changed, to tell in the annotation
// endpoints.kubernetes.io/last-change-trigger-time since when a change is under way.
type Triggers struct {
	mu sync.Mutex
	m  map[object.Key]*triggers
}

type triggers struct {
	service time.Time
	pods    map[types.UID]time.Time
}

// NewTriggers makes an empty one.
func NewTriggers() *Triggers { return &Triggers{m: map[object.Key]*triggers{}} }

// Next gives the time of the earliest change since the last call for the service; zero when nothing changed
// whose time is known (a pod removed leaves no time).
func (t *Triggers) Next(s *corev1.Service, pods []*corev1.Pod) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := object.KeyOf(s)
	last, known := t.m[key]
	next := &triggers{service: s.CreationTimestamp.Time, pods: make(map[types.UID]time.Time, len(pods))}
	t.m[key] = next
	var first time.Time
	note := func(at time.Time) {
		if !at.IsZero() && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	for _, p := range pods {
		at := podTrigger(p)
		next.pods[p.UID] = at
		if !known || at.After(last.pods[p.UID]) {
			note(at)
		}
	}
	if !known || next.service.After(last.service) {
		note(next.service)
	}
	return first
}

// Forget drops a service.
func (t *Triggers) Forget(service object.Key) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.m, service)
}

func podTrigger(p *corev1.Pod) time.Time {
	if c := podset.Condition(p, corev1.PodReady); c != nil && !c.LastTransitionTime.IsZero() {
		return c.LastTransitionTime.Time
	}
	return p.CreationTimestamp.Time
}
