package server

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"hyperkube/internal/counts"
	"hyperkube/internal/server/request"
)

// usage counts what clients make of the API: who they are, the size of what they send and of what their watches are sent, and what they
// use that is deprecated. Names are upstream's.
type usage struct {
	users      [len(knownUsers) + 2]atomic.Uint64 // in the order of knownUsers, then addresses of mail, then others
	deprecated sync.Map                           // deprecatedUse → nil
	bodies     sync.Map                           // bodyKey → *counts.Histogram
	watches    sync.Map                           // GroupVersionResource → *counts.Histogram of the sizes of events
	states     sync.Map                           // stateKey → *counts.Histogram of the times that watches took to send the state
}

// knownUsers have their requests counted by name; all others would be too many.
var knownUsers = [...]string{"admin", "client", "kube_proxy", "kubelet", "system:serviceaccount:kube-system:default"}

type (
	deprecatedUse struct{ group, version, resource, subresource string }
	bodyKey       struct{ group, resource, verb string }
	stateKey      struct{ group, version, resource, scope string }
)

var (
	bodyBounds  = prometheus.LinearBuckets(50_000, 100_000, 31)
	eventBounds = prometheus.ExponentialBuckets(1024, 2, 8)
	stateBounds = []float64{0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60, 90, 120, 180, 300}

	usersDesc = prometheus.NewDesc("authenticated_user_requests", "Counter of authenticated requests broken out by username.", []string{"username"}, nil)

	deprecatedDesc = prometheus.NewDesc("apiserver_requested_deprecated_apis",
		"Gauge of deprecated APIs that have been requested, broken out by API group, version, resource, subresource, and removed_release.", []string{"group", "removed_release", "resource", "subresource", "version"}, nil)
	bodiesDesc = prometheus.NewDesc("apiserver_request_body_size_bytes", "Apiserver request body size in bytes broken out by resource and verb.", []string{"group", "resource", "verb"}, nil)

	eventsDesc = prometheus.NewDesc("apiserver_watch_events_total", "Number of events sent in watch clients", []string{"group", "resource", "version"}, nil)
	sizesDesc  = prometheus.NewDesc("apiserver_watch_events_sizes", "Watch event size distribution in bytes", []string{"group", "resource", "version"}, nil)
	statesDesc = prometheus.NewDesc("apiserver_watch_list_duration_seconds",
		"Response latency distribution in seconds for watch list requests broken by group, version, resource and scope.", []string{"group", "resource", "scope", "version"}, nil)
)

// user counts a request of somebody who is known.
func (u *usage) user(name string) { u.users[userSlot(name)].Add(1) }

func userSlot(name string) int {
	for i, known := range knownUsers {
		if name == known {
			return i
		}
	}
	if strings.Contains(name, "@") {
		return len(knownUsers)
	}
	return len(knownUsers) + 1
}

// deprecate notes that a request was for a deprecated version.
func (u *usage) deprecate(req *request.Request) {
	req.Annotate("k8s.io/deprecated", "true")
	u.deprecated.LoadOrStore(deprecatedUse{req.APIGroup, req.APIVersion, req.Resource, req.Subresource}, nil)
}

// body counts the size of a request's body in bytes.
func (u *usage) body(req *request.Request, n int) {
	histogram(&u.bodies, bodyKey{req.APIGroup, req.Resource, req.Verb}, bodyBounds).Add(float64(n))
}

// sent counts what the watches of a resource are sent.
func (u *usage) sent(gvr schema.GroupVersionResource) *counts.Histogram {
	return histogram(&u.watches, gvr, eventBounds)
}

// state counts the time that a watch took to send the state that it began with.
func (u *usage) state(req *request.Request, d time.Duration) {
	k := keyOf(req)
	histogram(&u.states, stateKey{k.group, k.version, k.resource, k.scope}, stateBounds).Add(d.Seconds())
}

func histogram(m *sync.Map, key any, bounds []float64) *counts.Histogram {
	h, ok := m.Load(key)
	if !ok {
		h, _ = m.LoadOrStore(key, counts.New(bounds))
	}
	return h.(*counts.Histogram)
}

// Describe implements prometheus.Collector.
func (u *usage) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{usersDesc, deprecatedDesc, bodiesDesc, eventsDesc, sizesDesc, statesDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (u *usage) Collect(ch chan<- prometheus.Metric) {
	for i := range u.users {
		name := "other"
		switch {
		case i < len(knownUsers):
			name = knownUsers[i]
		case i == len(knownUsers):
			name = "email_id"
		}
		if n := u.users[i].Load(); n > 0 {
			ch <- prometheus.MustNewConstMetric(usersDesc, prometheus.CounterValue, float64(n), name)
		}
	}
	u.deprecated.Range(func(key, _ any) bool {
		k := key.(deprecatedUse)
		ch <- prometheus.MustNewConstMetric(deprecatedDesc, prometheus.GaugeValue, 1, k.group, "", k.resource, k.subresource, k.version)
		return true
	})
	u.bodies.Range(func(key, h any) bool {
		k := key.(bodyKey)
		ch <- h.(*counts.Histogram).Metric(bodiesDesc, k.group, k.resource, k.verb)
		return true
	})
	u.watches.Range(func(key, value any) bool {
		k, h := key.(schema.GroupVersionResource), value.(*counts.Histogram)
		ch <- prometheus.MustNewConstMetric(eventsDesc, prometheus.CounterValue, float64(h.Count()), k.Group, k.Resource, k.Version)
		ch <- h.Metric(sizesDesc, k.Group, k.Resource, k.Version)
		return true
	})
	u.states.Range(func(key, h any) bool {
		k := key.(stateKey)
		ch <- h.(*counts.Histogram).Metric(statesDesc, k.group, k.resource, k.scope, k.version)
		return true
	})
}
