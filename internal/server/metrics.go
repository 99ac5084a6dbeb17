package server

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hyperkube/internal/counts"
	"hyperkube/internal/server/request"
	"hyperkube/internal/version"
)

// metrics counts requests in plain atomics, keyed by what they were for; names and labels are made when somebody scrapes.
type metrics struct {
	s        *Server
	requests sync.Map // requestKey → *requestCount
	long     struct {
		mu   sync.Mutex
		next int64
		open map[int64]openRequest
	}
	watchers   watchers
	authorized *authorizations
	usage      usage

	total, duration, own, sizes, inflight, longRunningDesc *prometheus.Desc
}

type requestKey struct {
	verb, group, version, resource, subresource, scope string
	dryRun                                             string
	code                                               int
}

type requestCount struct {
	duration, own *counts.Histogram // own: without the time that others took
	sizes         *counts.Histogram
	long          bool
}

type openRequest struct {
	key    requestKey
	cancel context.CancelFunc
}

func newMetrics(s *Server) *metrics {
	labels := []string{"component", "group", "resource", "scope", "subresource", "verb", "version"}
	m := &metrics{
		s: s,
		total: prometheus.NewDesc("apiserver_request_total",
			"Counter of apiserver requests broken out for each verb, dry run value, group, version, resource, scope, component, and HTTP response code.",
			append([]string{"code", "dry_run"}, labels...), nil),
		duration: prometheus.NewDesc("apiserver_request_duration_seconds",
			"Response latency distribution in seconds for each verb, dry run value, group, version, resource, subresource, scope and component.",
			append([]string{"dry_run"}, labels...), nil),
		own: prometheus.NewDesc("apiserver_request_sli_duration_seconds",
			"Response latency distribution (not counting webhook duration and priority & fairness queue wait times) in seconds for each verb, group, version, resource, subresource, scope and component.", labels, nil),
		sizes: prometheus.NewDesc("apiserver_response_sizes",
			"Response size distribution in bytes for each group, version, verb, resource, subresource, scope and component.", labels, nil),
		authorized: newAuthorizations(),
		inflight: prometheus.NewDesc("apiserver_current_inflight_requests",
			"Maximal number of currently used inflight request limit of this apiserver per request kind in last second.", []string{"request_kind"}, nil),
		longRunningDesc: prometheus.NewDesc("apiserver_longrunning_requests",
			"Gauge of all active long-running apiserver requests broken out by verb, group, version, resource, scope and component.", labels, nil),
	}
	m.long.open = map[int64]openRequest{}
	return m
}

func keyOf(req *request.Request) requestKey {
	k := requestKey{verb: metricVerb(req), group: req.APIGroup, version: req.APIVersion, resource: req.Resource, subresource: req.Subresource}
	switch {
	case !req.IsResourceRequest:
		k.group, k.version, k.scope = "", "", ""
		k.subresource = req.Path
		if len(k.subresource) > 24 {
			k.subresource = "other"
		}
	case req.Name != "", req.Verb == "create": // a new object is one, though the path does not name it
		k.scope = "resource"
	case req.Namespace != "":
		k.scope = "namespace"
	default:
		k.scope = "cluster"
	}
	return k
}

func metricVerb(req *request.Request) string {
	switch req.Verb {
	case "get":
		return "GET"
	case "list":
		return "LIST"
	case "watch":
		return "WATCH"
	case "create", "post":
		return "POST"
	case "update", "put":
		return "PUT"
	case "patch":
		return "PATCH"
	case "delete":
		return "DELETE"
	case "deletecollection":
		return "DELETECOLLECTION"
	}
	return "OTHER"
}

// observe counts a request that has ended; sent are the bytes of its answer, less than 0: it had none.
func (m *metrics) observe(req *request.Request, code int, long bool, d time.Duration, sent int64) {
	k := keyOf(req)
	if code == 0 {
		code = 200
	}
	k.code = code
	if code == 404 && m.unknown(req) {
		// What nobody serves is a client's to invent: it may not fill the metrics.
		k = requestKey{verb: k.verb, code: code}
	}
	v, ok := m.requests.Load(k)
	if !ok {
		v, _ = m.requests.LoadOrStore(k, newRequestCount(long))
	}
	c := v.(*requestCount)
	c.duration.Add(d.Seconds())
	if long {
		return
	}
	c.own.Add(max(d-req.Waited(), 0).Seconds())
	if sent >= 0 && (k.verb == "GET" || k.verb == "LIST") {
		c.sizes.Add(float64(sent))
	}
}

func newRequestCount(long bool) *requestCount {
	return &requestCount{duration: counts.New(durationBounds), own: counts.New(ownBounds), sizes: counts.New(sizeBounds), long: long}
}

func (m *metrics) unknown(req *request.Request) bool {
	if !req.IsResourceRequest {
		return true
	}
	k, _ := m.s.cfg.Table.Resource(req.GVR())
	return k == nil || req.Subresource != "" && k.Subresource(req.Subresource) == nil
}

// longRunning counts an open watch or stream until its context is cancelled, and lets a shutdown end it.
func (m *metrics) longRunning(ctx context.Context, req *request.Request) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	m.long.mu.Lock()
	defer m.long.mu.Unlock()
	m.long.next++
	id := m.long.next
	m.long.open[id] = openRequest{keyOf(req), cancel}
	m.watchers.add(req, 1)
	if m.s.draining.Load() {
		cancel()
	}
	return ctx, func() {
		cancel()
		m.long.mu.Lock()
		if _, open := m.long.open[id]; open {
			delete(m.long.open, id)
			m.watchers.add(req, -1)
		}
		m.long.mu.Unlock()
		m.s.tellEnded()
	}
}

// openLongRunning are the functions that end the open watches and streams.
func (m *metrics) openLongRunning() []context.CancelFunc {
	m.long.mu.Lock()
	defer m.long.mu.Unlock()
	ends := make([]context.CancelFunc, 0, len(m.long.open))
	for _, o := range m.long.open {
		ends = append(ends, o.cancel)
	}
	return ends
}

// noneLong tells whether no watch or stream is open.
func (m *metrics) noneLong() bool {
	m.long.mu.Lock()
	defer m.long.mu.Unlock()
	return len(m.long.open) == 0
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.total, m.duration, m.own, m.sizes, m.inflight, m.longRunningDesc, storedDesc, objectsDesc, buildDesc} {
		ch <- d
	}
}

// What is known without counting requests. Names are upstream's.
var (
	storedDesc = prometheus.NewDesc("apiserver_storage_objects", "Number of stored objects at the time of last check split by kind.", []string{"resource"}, nil)
	// objectsDesc is the newer name of the same.
	objectsDesc = prometheus.NewDesc("apiserver_resource_objects", "Number of stored objects at the time of last check split by kind. In case of a fetching error, the value will be -1.", []string{"group", "resource"}, nil)
	buildDesc   = prometheus.NewDesc("kubernetes_build_info", "A metric with a constant '1' value labeled by major, minor, git version, git commit, git tree state, build date, Go version, and compiler from which Kubernetes was built, and platform on which it is running.",
		[]string{"major", "minor", "git_version", "git_commit", "git_tree_state", "build_date", "go_version", "compiler", "platform"}, nil)
)

// collectFacts tells how many objects there are, and what program this is.
func (m *metrics) collectFacts(ch chan<- prometheus.Metric) {
	for resource, n := range m.s.store.Objects() {
		ch <- prometheus.MustNewConstMetric(storedDesc, prometheus.GaugeValue, float64(n), resource.String())
		ch <- prometheus.MustNewConstMetric(objectsDesc, prometheus.GaugeValue, float64(n), resource.Group, resource.Resource)
	}
	v := version.Info()
	ch <- prometheus.MustNewConstMetric(buildDesc, prometheus.GaugeValue, 1,
		v.Major, v.Minor, v.GitVersion, v.GitCommit, v.GitTreeState, v.BuildDate, v.GoVersion, v.Compiler, v.Platform)
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	m.collectFacts(ch)
	durations := map[requestKey]*sums{}
	m.requests.Range(func(key, value any) bool {
		k, c := key.(requestKey), value.(*requestCount)
		ch <- prometheus.MustNewConstMetric(m.total, prometheus.CounterValue, float64(c.duration.Count()), append([]string{strconv.Itoa(k.code), k.dryRun}, k.labels()...)...)
		if c.long {
			return true
		}
		k.code = 0
		d := durations[k]
		if d == nil {
			d = &sums{}
			durations[k] = d
		}
		d.add(c)
		return true
	})
	for k, d := range durations {
		ch <- d.duration.Metric(m.duration, append([]string{k.dryRun}, k.labels()...)...)
		if k.dryRun != "" {
			continue // of which neither objectives nor sizes tell apart
		}
		ch <- d.own.Metric(m.own, k.labels()...)
		if d.sizes.Count > 0 {
			ch <- d.sizes.Metric(m.sizes, k.labels()...)
		}
	}
	ch <- prometheus.MustNewConstMetric(m.inflight, prometheus.GaugeValue, float64(m.s.inflight.reading.now.Load()), "readOnly")
	ch <- prometheus.MustNewConstMetric(m.inflight, prometheus.GaugeValue, float64(m.s.inflight.mutating.now.Load()), "mutating")
	open := map[requestKey]float64{}
	m.long.mu.Lock()
	for _, o := range m.long.open {
		open[o.key]++
	}
	m.long.mu.Unlock()
	for k, n := range open {
		ch <- prometheus.MustNewConstMetric(m.longRunningDesc, prometheus.GaugeValue, n, k.labels()...)
	}
}

func (k requestKey) labels() []string {
	return []string{"apiserver", k.group, k.resource, k.scope, k.subresource, k.verb, k.version}
}
