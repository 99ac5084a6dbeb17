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
	if all.duration.count != 2 || !near(all.duration.sum, 3) || all.duration.buckets[1] != 1 || all.duration.buckets[2] != 2 {
		t.Errorf("durations: %+v", all.duration)
	}
	if all.own.count != 2 || !near(all.own.sum, 2.1) || all.own.buckets[0.1] != 1 || all.own.buckets[1.5] != 1 {
		t.Errorf("durations without what others took: %+v", all.own)
	}
	if all.sizes.count != 2 || all.sizes.sum != 1600 || all.sizes.buckets[1000] != 1 || all.sizes.buckets[10000] != 2 {
		t.Errorf("sizes: %+v", all.sizes)
	}
}
