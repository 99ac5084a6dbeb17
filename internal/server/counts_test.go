package server

import (
	"math"
	"testing"
	"time"

	"hyperkube/internal/server/request"
)

// TestObserve counts a request that waited for others, and one more that failed.
func TestObserve(t *testing.T) {
	m := &metrics{}
	req := &request.Request{Info: request.Info{IsResourceRequest: true, Verb: "list", Resource: "pods", APIVersion: "v1"}}
	req.Aside(900 * time.Millisecond)
	m.observe(req, 200, false, time.Second, 1500)
	m.observe(&request.Request{Info: req.Info}, 500, false, 2*time.Second, 100)
	var all sums
	m.requests.Range(func(_, c any) bool {
		all.add(c.(*requestCount))
		return true
	})
	near := func(got, want float64) bool { return math.Abs(got-want) < 1e-9 }
	if all.duration.Count != 2 || !near(all.duration.Sum, 3) || all.duration.Buckets[1] != 1 || all.duration.Buckets[2] != 2 {
		t.Errorf("durations: %+v", all.duration)
	}
	if all.own.Count != 2 || !near(all.own.Sum, 2.1) || all.own.Buckets[0.1] != 1 || all.own.Buckets[1.5] != 1 {
		t.Errorf("durations without what others took: %+v", all.own)
	}
	if all.sizes.Count != 2 || all.sizes.Sum != 1600 || all.sizes.Buckets[1000] != 1 || all.sizes.Buckets[10000] != 2 {
		t.Errorf("sizes: %+v", all.sizes)
	}
}
