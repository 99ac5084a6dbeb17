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
	ready, not, silent int // nodes that are ready, that are not, and that never reported
	limiter            *rate.Limiter
}

func newZones(o Options) *zones { return &zones{options: o, by: map[string]*zone{}} }

func zoneOf(n *corev1.Node) string {
	return n.Labels[corev1.LabelTopologyRegion] + ":\x00:" + n.Labels[corev1.LabelTopologyZone]
}

// change counts one change of a node (nil for none) and judges anew. changed says that a rate or the state of the whole has
// changed, back that nodes can be reached again after all were dead.
func (z *zones) change(old, new *corev1.Node) (changed, back bool) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if old != nil {
		changed = z.count(old, -1) || changed
	}
	if new != nil {
		changed = z.count(new, 1) || changed
	}
	dead := len(z.by) > 0
	for _, zn := range z.by {
		if zn.ready > 0 || zn.not == 0 {
			dead = false
		}
	}
	back = z.dead && !dead
	changed = changed || z.dead != dead
	z.dead = dead
	return changed, back
}

// count adds n nodes of a node's kind to its zone, and says whether the zone's rate changed.
func (z *zones) count(node *corev1.Node, n int) bool {
	name := zoneOf(node)
	zn := z.by[name]
	if zn == nil {
		zn = &zone{limiter: rate.NewLimiter(rate.Limit(z.options.EvictionRate), 1)}
		z.by[name] = zn
	}
	switch readiness(node) {
	case corev1.ConditionTrue:
		zn.ready += n
	case "": // says nothing about the zone
		zn.silent += n
	default:
		zn.not += n
	}
	if zn.ready+zn.not+zn.silent == 0 {
		delete(z.by, name)
		return false
	}
	limit := z.options.rate(zn.ready, zn.not)
	if limit == zn.limiter.Limit() {
		return false
	}
	zn.limiter.SetLimit(limit)
	return true
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
	if zn == nil || zn.limiter.Limit() == 0 {
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
