package scheduler

import (
	"container/heap"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"hyperkube/internal/scheduler/placement"
)

// item is a pod that wants a node.
type item struct {
	pod     *corev1.Pod
	ready   *placement.Pod
	profile *placement.Profile

	first    time.Time // when it came
	queued   time.Time // when it became active, or began to wait
	attempts int
	until    time.Time           // end of the back-off
	refused  placement.PluginSet // by the last attempt
	failed   bool                // by an error, not for want of a node: no early try

	where place
	index int // in its heap
}

// place is the part of the queue that an item is in.
type place uint8

const (
	nowhere place = iota // taken out, being scheduled or bound
	active
	backoff
	waiting
	gated
)

func (p place) String() string {
	return [...]string{"", "active", "backoff", "unschedulable", "gated"}[p]
}

// queue holds the pods without a node. Not safe for concurrent use.
type queue struct {
	initial, longest time.Duration // of back-offs
	all              map[types.UID]*item
	active, backoff  itemHeap
	waiting          map[types.UID]*item
	gated            int
	incoming         func(where place, event string)
}

// waitLimit is how long a pod waits for something to change before it is tried anyway.
const waitLimit = 5 * time.Minute

func newQueue(initial, longest time.Duration, incoming func(place, string)) *queue {
	return &queue{
		initial: initial, longest: longest, incoming: incoming,
		all:     map[types.UID]*item{},
		waiting: map[types.UID]*item{},
		active:  itemHeap{less: moreUrgent},
		backoff: itemHeap{less: func(a, b *item) bool { return a.until.Before(b.until) }},
	}
}

// moreUrgent is the order of PrioritySort.
func moreUrgent(a, b *item) bool {
	if a.ready.Priority != b.ready.Priority {
		return a.ready.Priority > b.ready.Priority
	}
	return a.queued.Before(b.queued)
}

// put places an item, taking it from where it was.
func (q *queue) put(it *item, to place, now time.Time, event string) {
	q.take(it)
	q.all[it.pod.UID] = it
	it.where = to
	it.queued = now
	switch to {
	case active:
		heap.Push(&q.active, it)
	case backoff:
		heap.Push(&q.backoff, it)
	case waiting:
		q.waiting[it.pod.UID] = it
	case gated:
		q.gated++
	}
	q.incoming(to, event)
}

func (q *queue) take(it *item) {
	switch it.where {
	case active:
		heap.Remove(&q.active, it.index)
	case backoff:
		heap.Remove(&q.backoff, it.index)
	case waiting:
		delete(q.waiting, it.pod.UID)
	case gated:
		q.gated--
	}
	it.where = nowhere
}

// remove forgets a pod.
func (q *queue) remove(uid types.UID) {
	if it := q.all[uid]; it != nil {
		q.take(it)
		delete(q.all, uid)
	}
}

// retry makes an item active, or lets it back off first when its last attempt was a moment ago.
func (q *queue) retry(it *item, now time.Time, event string) {
	if now.Before(it.until) {
		q.put(it, backoff, now, event)
		return
	}
	q.put(it, active, now, event)
}

// attempted counts an attempt that failed and sets the back-off.
func (q *queue) attempted(it *item, now time.Time) {
	d := q.initial
	for i := 1; i < it.attempts && d < q.longest; i++ {
		d *= 2
	}
	it.until = now.Add(min(d, q.longest))
}

// pop takes the next item out; nil when none is due.
func (q *queue) pop(now time.Time) *item {
	for q.backoff.Len() > 0 && !now.Before(q.backoff.items[0].until) {
		q.put(q.backoff.items[0], active, now, "BackoffComplete")
	}
	var it *item
	switch {
	case q.active.Len() > 0:
		it = q.active.items[0]
	case q.backoff.Len() > 0 && !q.backoff.items[0].failed:
		it = q.backoff.items[0]
	default:
		// Nothing better to do: those whose back-off is not for an error need not wait it out.
		for _, b := range q.backoff.items {
			if !b.failed && (it == nil || b.until.Before(it.until)) {
				it = b
			}
		}
	}
	if it != nil {
		q.take(it)
		it.attempts++
	}
	return it
}

// due is when pop may give something that it does not give now; zero when only a change can bring that about.
func (q *queue) due() time.Time {
	if q.backoff.Len() > 0 {
		return q.backoff.items[0].until
	}
	return time.Time{}
}

// flush makes items active that have waited too long.
func (q *queue) flush(now time.Time) {
	for _, it := range q.waiting {
		if now.Sub(it.queued) > waitLimit {
			q.retry(it, now, "UnschedulableTimeout")
		}
	}
}

// itemHeap is a heap for container/heap.
type itemHeap struct {
	items []*item
	less  func(a, b *item) bool
}

func (h *itemHeap) Len() int           { return len(h.items) }
func (h *itemHeap) Less(i, j int) bool { return h.less(h.items[i], h.items[j]) }

func (h *itemHeap) Swap(i, j int) {
	h.items[i], h.items[j] = h.items[j], h.items[i]
	h.items[i].index, h.items[j].index = i, j
}

func (h *itemHeap) Push(x any) {
	it := x.(*item)
	it.index = len(h.items)
	h.items = append(h.items, it)
}

func (h *itemHeap) Pop() any {
	last := len(h.items) - 1
	it := h.items[last]
	h.items[last] = nil
	h.items = h.items[:last]
	return it
}
