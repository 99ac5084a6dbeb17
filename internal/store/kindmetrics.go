package store

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"hyperkube/internal/counts"
)

// kindMetrics count what is done with the objects of one kind, also while collections of it follow each other.
type kindMetrics struct {
	requests [len(etcdOperations)]requestMetrics
	lists    [2]listMetrics // fromCache, fromEtcd
	waits    *counts.Histogram
	// received are events from etcd, filled how often the cache was filled and loaded the objects that it was filled with.
	received, dispatched, filled, loaded atomic.Uint64
	consistent                           [2]atomic.Uint64 // reads of the newest state from the cache: failed, done
}

// Of the requests to etcd, those that are about objects of a kind.
type etcdOperation int

const (
	opCreate etcdOperation = iota
	opUpdate
	opDelete
	opGet
	opList
)

var etcdOperations = [...]string{"create", "update", "delete", "get", "list"}

func (o etcdOperation) String() string { return etcdOperations[o] }

type requestMetrics struct {
	took   *counts.Histogram
	failed atomic.Uint64
}

type listMetrics struct{ done, returned atomic.Uint64 }

var (
	requestBounds = []float64{0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60}
	waitBounds    = requestBounds[:13]
)

func newKindMetrics() *kindMetrics {
	m := &kindMetrics{waits: counts.New(waitBounds)}
	for i := range m.requests {
		m.requests[i].took = counts.New(requestBounds)
	}
	return m
}

// kindMetrics are those of a kind; the same for each collection of it.
func (s *Store) kindMetrics(r schema.GroupResource) *kindMetrics {
	m, ok := s.kinds.Load(r)
	if !ok {
		m, _ = s.kinds.LoadOrStore(r, newKindMetrics())
	}
	return m.(*kindMetrics)
}

// asked counts a request to etcd.
func (m *kindMetrics) asked(op etcdOperation, start time.Time, err error) {
	r := &m.requests[op]
	r.took.Add(time.Since(start).Seconds())
	if err != nil {
		r.failed.Add(1)
	}
}

// waited counts a read of the newest state, which waited until the cache had it.
func (m *kindMetrics) waited(start time.Time, err error) {
	m.waits.Add(time.Since(start).Seconds())
	done := 1
	if err != nil {
		done = 0
	}
	m.consistent[done].Add(1)
}

// Where a list was answered from.
const (
	fromCache = iota
	fromEtcd
)

// listed counts what a list gave.
func (c *Collection) listed(from int) func(*Page, error) (*Page, error) {
	return func(p *Page, err error) (*Page, error) {
		if err == nil {
			l := &c.metrics.lists[from]
			l.done.Add(1)
			l.returned.Add(uint64(len(p.Entries)))
		}
		return p, err
	}
}

// The names are upstream's.
var (
	requestsDesc   = kindDesc("etcd_requests_total", "Etcd request counts for each operation and object type.", "operation")
	failedDesc     = kindDesc("etcd_request_errors_total", "Etcd failed request counts for each operation and object type.", "operation")
	tookDesc       = kindDesc("etcd_request_duration_seconds", "Etcd request latency in seconds for each operation and object type.", "operation")
	listsDesc      = kindDesc("apiserver_storage_list_total", "Number of LIST requests served from storage", "index", "storage")
	returnedDesc   = kindDesc("apiserver_storage_list_returned_objects_total", "Number of objects returned for a LIST request from storage", "index", "storage")
	eventsDesc     = kindDesc("apiserver_storage_events_received_total", "Number of etcd events received split by kind.")
	receivedDesc   = kindDesc("apiserver_watch_cache_events_received_total", "Counter of events received in watch cache broken by resource type.")
	dispatchedDesc = kindDesc("apiserver_watch_cache_events_dispatched_total", "Counter of events dispatched in watch cache broken by resource type.")
	filledDesc     = kindDesc("apiserver_watch_cache_initializations_total", "Counter of watch cache initializations broken by resource type.")
	loadedDesc     = kindDesc("apiserver_init_events_total", "Counter of init events processed in watch cache broken by resource type.")
	versionDesc    = kindDesc("apiserver_watch_cache_resource_version", "Current resource version of watch cache broken by resource type. This is truncated to the 15 least significant digits.")
	capacityDesc   = kindDesc("watch_cache_capacity", "Total capacity of watch cache broken by resource type.")
	waitsDesc      = kindDesc("apiserver_watch_cache_read_wait_seconds", "Histogram of time spent waiting for a watch cache to become fresh.")
	consistentDesc = kindDesc("apiserver_watch_cache_consistent_read_total", "Counter for consistent reads from cache.", "fallback", "success")
	sizeDesc       = prometheus.NewDesc("apiserver_storage_size_bytes", "Size of the storage database file physically allocated in bytes.", []string{"storage_cluster_id"}, nil)
)

func kindDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, append([]string{"group", "resource"}, labels...), nil)
}

// Describe implements prometheus.Collector.
func (s *Store) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{requestsDesc, failedDesc, tookDesc, listsDesc, returnedDesc, eventsDesc, receivedDesc, dispatchedDesc,
		filledDesc, loadedDesc, versionDesc, capacityDesc, waitsDesc, consistentDesc, sizeDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (s *Store) Collect(ch chan<- prometheus.Metric) {
	s.kinds.Range(func(key, m any) bool {
		m.(*kindMetrics).collect(ch, key.(schema.GroupResource))
		return true
	})
	for _, c := range *s.feed.colls.Load() {
		r := c.kind.GroupResource()
		c.mu.RLock()
		loading, rev := c.loading, c.last
		c.mu.RUnlock()
		if !loading {
			ch <- prometheus.MustNewConstMetric(versionDesc, prometheus.GaugeValue, float64(rev%1e15), r.Group, r.Resource)
			ch <- prometheus.MustNewConstMetric(capacityDesc, prometheus.GaugeValue, float64(s.cfg.WindowEvents), r.Group, r.Resource)
		}
	}
	s.collectSize(ch)
}

func (m *kindMetrics) collect(ch chan<- prometheus.Metric, r schema.GroupResource) {
	count := func(d *prometheus.Desc, n uint64, labels ...string) {
		if n > 0 {
			ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), append([]string{r.Group, r.Resource}, labels...)...)
		}
	}
	for i, op := range etcdOperations {
		q := &m.requests[i]
		count(requestsDesc, q.took.Count(), op)
		count(failedDesc, q.failed.Load(), op)
		if q.took.Count() > 0 {
			ch <- q.took.Metric(tookDesc, r.Group, r.Resource, op)
		}
	}
	for i, storage := range [...]string{fromCache: "watchcache", fromEtcd: "etcd"} {
		l := &m.lists[i]
		count(listsDesc, l.done.Load(), "", storage)
		count(returnedDesc, l.returned.Load(), "", storage)
	}
	count(eventsDesc, m.received.Load())
	count(receivedDesc, m.received.Load())
	count(dispatchedDesc, m.dispatched.Load())
	count(filledDesc, m.filled.Load())
	count(loadedDesc, m.loaded.Load())
	count(consistentDesc, m.consistent[1].Load(), "false", "true")
	count(consistentDesc, m.consistent[0].Load(), "false", "false")
	if m.waits.Count() > 0 {
		ch <- m.waits.Metric(waitsDesc, r.Group, r.Resource)
	}
}

// sizeTimeout bounds how long a scrape waits for etcd.
const sizeTimeout = 2 * time.Second

// collectSize asks each server of etcd how large its file is. One that does not answer is left out.
func (s *Store) collectSize(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(s.ctx, sizeTimeout)
	defer cancel()
	endpoints := s.client.Endpoints()
	if len(endpoints) == 0 {
		endpoints = []string{""} // etcd is in this process
	}
	for i, e := range endpoints {
		if st, err := s.client.Status(ctx, e); err == nil {
			ch <- prometheus.MustNewConstMetric(sizeDesc, prometheus.GaugeValue, float64(st.DbSize), fmt.Sprintf("etcd-%d", i))
		}
	}
}
