package fairness

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	"k8s.io/apiserver/pkg/authentication/user"
)

// TestDump looks at a level of one seat that one request has and another waits for.
func TestDump(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	f := New(Config{Seats: 1, QueueWait: time.Minute, Now: func() time.Time { return now }})
	f.configure([]*flowcontrolv1.FlowSchema{forUsers("people", "small", 100, "ann")},
		[]*flowcontrolv1.PriorityLevelConfiguration{limited("small", 100, 0, nil, queues(1, 1, 5))})
	done, err := f.Admit(context.Background(), ask("ann"))
	if err != nil {
		t.Fatal(err)
	}
	exempt, err := f.Admit(context.Background(), ask("root", user.SystemPrivilegedGroup))
	if err != nil {
		t.Fatal(err)
	}
	l := f.dispatch.levels["small"]
	waits, _, refused := f.dispatch.enter(l, flow{"people", "ann"}, work{first: 1}, ask("ann"))
	if refused != "" || !waits.waits() {
		t.Fatalf("it does not wait: %q", refused)
	}
	get := func(path string) string {
		t.Helper()
		path, query, _ := strings.Cut(path, "?")
		h := f.Handlers()["/debug/api_priority_and_fairness/"+path]
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/?"+query, nil))
		if got := w.Header().Get("Content-Type"); got != "text/plain; charset=utf-8" {
			t.Error(got)
		}
		return w.Body.String()
	}
	has := func(path string, lines ...string) {
		t.Helper()
		got := get(path)
		for _, want := range lines {
			if !strings.Contains(got, want+"\n") {
				t.Errorf("%s lacks %q:\n%s", path, want, got)
			}
		}
	}
	has("dump_priority_levels",
		"PriorityLevelName, ActiveQueues, IsIdle, IsQuiescing, WaitingRequests, ExecutingRequests, DispatchedRequests, RejectedRequests, TimedoutRequests, CancelledRequests",
		"catch-all,         0,            true,   false,       0,               0,                 0,                  0,                0,                0",
		"exempt,            0,            false,  false,       0,               1,                 1,                  0,                0,                0",
		"small,             1,            false,  false,       1,               1,                 1,                  0,                0,                0")
	has("dump_queues",
		"PriorityLevelName, Index,  PendingRequests, ExecutingRequests, SeatsInUse, NextDispatchR, InitialSeatsSum, MaxSeatsSum, TotalWorkSum",
		"small,             0,      1,               1,                 1,          60.00000000ss, 1,               1,           60.00000000ss")
	has("dump_requests",
		"PriorityLevelName, FlowSchemaName, QueueIndex, RequestIndexInQueue, FlowDistingsher, ArriveTime,                     InitialSeats, FinalSeats, AdditionalLatency, StartTime",
		"small,             people,         0,          -1,                  ann,             2026-01-02T03:04:05.000000006Z, 1,            0,          0s,                2026-01-02T03:04:05.000000006Z",
		"small,             people,         0,          0,                   ann,             2026-01-02T03:04:05.000000006Z, 1,            0,          0s,                0001-01-01T00:00:00Z",
		"exempt,            exempt,         -1,         -1,                  ,                2026-01-02T03:04:05.000000006Z, 1,            0,          0s,                2026-01-02T03:04:05.000000006Z")
	if got := get("dump_requests?includeRequestDetails=1"); !strings.Contains(got, "0001-01-01T00:00:00Z,           ann,      get,    ,        default,   ,       v1,         pods,     \n") {
		t.Errorf("no details:\n%s", got)
	}
	if !f.dispatch.giveUp(waits, cancelled) {
		t.Fatal("what waits cannot give up")
	}
	done()
	exempt()
	has("dump_priority_levels",
		"small,             0,            true,   false,       0,               0,                 1,                  0,                0,                1")
	if got := get("dump_requests"); strings.Count(got, "\n") != 1 {
		t.Errorf("requests that have ended are shown:\n%s", got)
	}
}

// TestCounts follows the metrics of a level and its FlowSchema.
func TestCounts(t *testing.T) {
	f := New(Config{Seats: 1, QueueWait: time.Minute})
	f.configure([]*flowcontrolv1.FlowSchema{forUsers("people", "small", 100, "ann")},
		[]*flowcontrolv1.PriorityLevelConfiguration{limited("small", 100, 0, nil, queues(1, 1, 5))})
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(f.Collectors()...)
	done, err := f.Admit(context.Background(), ask("ann"))
	if err != nil {
		t.Fatal(err)
	}
	waits, _, _ := f.dispatch.enter(f.dispatch.levels["small"], flow{"people", "ann"}, work{first: 1}, ask("ann"))
	value := func(name string) float64 {
		t.Helper()
		all, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range all {
			if family.GetName() != "apiserver_flowcontrol_"+name {
				continue
			}
			for _, m := range family.Metric {
				for _, l := range m.Label {
					if l.GetName() != "priority_level" || l.GetValue() != "small" {
						continue
					}
					switch {
					case m.Histogram != nil:
						return float64(m.Histogram.GetSampleCount())
					case m.Counter != nil:
						return m.Counter.GetValue()
					}
					return m.Gauge.GetValue()
				}
			}
		}
		t.Fatalf("no metric %s of the level", name)
		return 0
	}
	for name, want := range map[string]float64{"current_executing_requests": 1, "current_executing_seats": 1, "current_inqueue_requests": 1,
		"current_inqueue_seats": 1, "dispatched_requests_total": 1, "upper_limit_seats": 2, "work_estimated_seats": 1,
		"current_limit_seats": 1, "request_dispatch_no_accommodation_total": 1, "request_queue_length_after_enqueue": 1} {
		if got := value(name); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	done()
	<-waits.call
	f.dispatch.leave(waits)
	for name, want := range map[string]float64{"current_executing_requests": 0, "current_executing_seats": 0, "current_inqueue_requests": 0,
		"current_inqueue_seats": 0, "dispatched_requests_total": 2, "request_execution_seconds": 1, "request_wait_duration_seconds": 1} {
		if got := value(name); got != want {
			t.Errorf("afterwards %s: %v, want %v", name, got, want)
		}
	}
}
