package nodelifecycle

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
)

// zones ration evictions. Each zone has a rate, which depends on how many of its nodes are ready:
// the normal one; the secondary, or none in a small zone, when the zone is unhealthy; and none anywhere while no
// node of any zone is ready. Safe for concurrent use.
type zones struct {
	options Options
	mu      sync.Mutex
	by      map[string]*zone
	dead    bool
}

type zone struct {
	limit   rate.Limit
	limiter *rate.Limiter
}

func newZones(o Options) *zones { return &zones{options: o, by: map[string]*zone{}} }

func zoneOf(n *corev1.Node) string {
	return n.Labels[corev1.LabelTopologyRegion] + ":\x00:" + n.Labels[corev1.LabelTopologyZone]
}

// update judges the zones by the nodes as they are. changed says that a rate or the state of the whole has changed,
// back that nodes can be reached again after all were dead.
func (z *zones) update(nodes []*corev1.Node) (changed, back bool) {
	type count struct{ ready, not int }
	counts := map[string]*count{}
	for _, n := range nodes {
		c := counts[zoneOf(n)]
		if c == nil {
			c = &count{}
			counts[zoneOf(n)] = c
		}
		switch readiness(n) {
		case corev1.ConditionTrue:
			c.ready++
		case "": // never reported: says nothing about the zone
		default:
			c.not++
		}
	}
	dead := len(counts) > 0
	for _, c := range counts {
		if c.ready > 0 || c.not == 0 {
			dead = false
		}
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	for name := range z.by {
		if counts[name] == nil {
			delete(z.by, name)
		}
	}
	for name, c := range counts {
		limit := z.options.rate(c.ready, c.not)
		switch have := z.by[name]; {
		case have == nil:
			z.by[name] = &zone{limit, rate.NewLimiter(limit, 1)}
		case have.limit != limit:
			have.limit = limit
			have.limiter.SetLimit(limit)
			changed = true
		}
	}
	back = z.dead && !dead
	changed = changed || z.dead != dead
	z.dead = dead
	return changed, back
}

// rate of evictions in a zone with so many nodes ready and not ready.
func (o *Options) rate(ready, not int) rate.Limit {
	switch {
	case ready == 0 && not > 0: // the zone is lost, and others are not
		return rate.Limit(o.EvictionRate)
	case not > 2 && float64(not)/float64(not+ready) >= o.UnhealthyThreshold:
		if not+ready > o.LargeCluster {
			return rate.Limit(o.SecondaryRate)
		}
		return 0
	}
	return rate.Limit(o.EvictionRate)
}

// allDead says whether no node of any zone is ready.
func (z *zones) allDead() bool {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.dead
}

// ration asks for one eviction in a zone: 0 grants it, more is how long to wait before asking again, and less than 0
// means that there will be none until the zone's state changes.
func (z *zones) ration(name string, now time.Time) time.Duration {
	z.mu.Lock()
	defer z.mu.Unlock()
	zn := z.by[name]
	if zn == nil || zn.limit == 0 {
		return -1
	}
	r := zn.limiter.ReserveN(now, 1)
	if !r.OK() {
		return -1
	}
	if wait := r.DelayFrom(now); wait > 0 {
		r.CancelAt(now)
		return wait
	}
	return 0
}
