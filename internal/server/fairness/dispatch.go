package fairness

import (
	"hash/fnv"
	"slices"
	"sync"
	"time"

	"hyperkube/internal/server/request"
)

// guess is how long a request is thought to take before it has ended (seconds): long, so that a queue that has just had one is not at once served
// again before the others.
const guess = 60.0

// dispatcher gives out seats. All of it, levels and queues too, is guarded by the lock.
type dispatcher struct {
	now   func() time.Time
	total int

	mu     sync.Mutex
	levels map[string]*level
	order  []*level // for those that wait: by name
}

// level is one priority level.
type level struct {
	name     string
	exempt   bool
	leaving  bool // no longer configured: it ends with those that are in it
	nominal  int  // seats of its own
	reserved int  // of those, the seats that it does not lend
	most     int  // seats with all that it may borrow
	queues   []queue
	length   int // of a queue, at most; 0: nothing waits
	hand     int

	used, running, waiting int
	busy                   int     // queues that have requests
	virtual                float64 // the virtual time of the queues
	at                     time.Time

	executing                             map[*ticket]struct{}
	dispatched, full, timedOut, cancelled int                // since the level is there
	schemas                               map[string]*counts // by FlowSchema
}

// counts are the requests of one FlowSchema.
type counts struct{ waiting, waitingSeats, running, seats, dispatched int }

func newLevel(name string, now time.Time) *level {
	return &level{name: name, at: now, executing: map[*ticket]struct{}{}, schemas: map[string]*counts{}}
}

func (l *level) of(schema string) *counts {
	c := l.schemas[schema]
	if c == nil {
		c = &counts{}
		l.schemas[schema] = c
	}
	return c
}

type queue struct {
	waiting []*ticket
	all     int     // requests that wait or run
	start   float64 // virtual time at which the next request would start
}

// come counts a request more in a queue, which joins the busy ones where they are in virtual time.
func (l *level) come(q *queue) {
	if q.all == 0 {
		l.busy++
		q.start = max(q.start, l.virtual)
	}
	q.all++
}

func (l *level) gone(q *queue) {
	if q.all--; q.all == 0 {
		l.busy--
	}
}

// flow is a schema and what it tells requests apart by.
type flow struct{ schema, distinguisher string }

// ticket is one request that has its seats, or waits for them.
type ticket struct {
	level   *level
	flow    flow
	req     *request.Request // for those who look at the queues
	free    bool             // exempt: it takes no seats from anybody
	queue   int              // -1: it never waited in one
	width   int
	arrived time.Time
	began   time.Time
	call    chan struct{} // closed when it has its seats; nil: it had them at once
}

func (t *ticket) waits() bool { return t.call != nil }

// exempt counts a request that never waits.
func (d *dispatcher) exempt(l *level, f flow, req *request.Request) *ticket {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	t := &ticket{level: l, flow: f, req: req, free: true, queue: -1, width: 1, arrived: now, began: now}
	l.running++
	l.begun(t)
	return t
}

// begun counts a request that is executing from now on.
func (l *level) begun(t *ticket) {
	l.executing[t] = struct{}{}
	l.dispatched++
	c := l.of(t.flow.schema)
	c.running++
	c.seats += t.width
	c.dispatched++
}

func (l *level) ended(t *ticket) {
	delete(l.executing, t)
	c := l.of(t.flow.schema)
	c.running--
	c.seats -= t.width
}

// enter gives a request its seats, or a place in a queue, or the reason of its refusal.
func (d *dispatcher) enter(l *level, f flow, width int, req *request.Request) (*ticket, string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tick(l)
	width = min(width, max(l.most, 1)) // else it could never be served
	t := &ticket{level: l, flow: f, req: req, queue: -1, width: width, arrived: d.now()}
	if len(l.queues) > 0 {
		t.queue = l.deal(f)
	}
	if l.waiting == 0 && d.free(l, width) {
		if t.queue >= 0 {
			l.come(&l.queues[t.queue])
		}
		d.start(t)
		return t, ""
	}
	if len(l.queues) == 0 {
		l.full++
		return nil, "concurrency-limit"
	}
	q := &l.queues[t.queue]
	if len(q.waiting) >= l.length {
		l.full++
		return nil, "queue-full"
	}
	l.come(q)
	t.call = make(chan struct{})
	q.waiting = append(q.waiting, t)
	l.waits(t, 1)
	d.serve()
	return t, ""
}

// leave gives seats back and calls those that wait for them.
func (d *dispatcher) leave(t *ticket) {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := t.level
	l.ended(t)
	if t.free {
		l.running--
		return
	}
	d.tick(l)
	l.used -= t.width
	l.running--
	if t.queue >= 0 && t.queue < len(l.queues) {
		q := &l.queues[t.queue]
		l.gone(q)
		// It is charged for what it took, not for what was guessed.
		q.start -= (guess - d.now().Sub(t.began).Seconds()) * float64(t.width)
	}
	d.serve()
}

// Why a request that waited is refused.
const (
	timeOut   = "time-out"
	cancelled = "cancelled"
)

// waits counts a request that begins (1) or ends (-1) to wait.
func (l *level) waits(t *ticket, by int) {
	l.waiting += by
	c := l.of(t.flow.schema)
	c.waiting += by
	c.waitingSeats += by * t.width
}

// giveUp takes a ticket out of its queue; false: it has its seats by now.
func (d *dispatcher) giveUp(t *ticket, why string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if t.queue >= len(t.level.queues) {
		return false
	}
	q := &t.level.queues[t.queue]
	i := slices.Index(q.waiting, t)
	if i < 0 {
		return false
	}
	q.waiting = slices.Delete(q.waiting, i, i+1)
	t.level.gone(q)
	t.level.waits(t, -1)
	if why == timeOut {
		t.level.timedOut++
	} else {
		t.level.cancelled++
	}
	return true
}

// free tells whether a level may take that many seats more. What others have not lent out stays theirs.
func (d *dispatcher) free(l *level, width int) bool {
	if l.running == 0 {
		return true // even a level without a seat of its own goes on, one by one
	}
	if l.used+width <= l.reserved {
		return true
	}
	if l.used+width > l.most {
		return false
	}
	taken := 0
	for _, other := range d.order {
		if other != l {
			taken += max(other.used, other.reserved)
		}
	}
	return taken+l.used+width <= d.total
}

// start gives the ticket its seats.
func (d *dispatcher) start(t *ticket) {
	l := t.level
	l.used += t.width
	l.running++
	t.began = d.now()
	l.begun(t)
	if t.queue >= 0 {
		l.queues[t.queue].start += guess * float64(t.width)
	}
	if t.call != nil {
		close(t.call)
	}
}

// serve calls whoever can be served: first levels that have not all that is theirs, then those that borrow.
func (d *dispatcher) serve() {
	for _, own := range []bool{true, false} {
		for _, l := range d.order {
			for l.waiting > 0 {
				q := l.next()
				t := l.queues[q].waiting[0]
				if own && l.used+t.width > max(l.nominal, 1) || !d.free(l, t.width) {
					break
				}
				l.queues[q].waiting = slices.Delete(l.queues[q].waiting, 0, 1)
				l.waits(t, -1)
				d.start(t)
			}
		}
	}
}

// next is the queue whose first request would end earliest, in virtual time.
func (l *level) next() int {
	best, end := -1, 0.0
	for i := range l.queues {
		q := &l.queues[i]
		if len(q.waiting) == 0 {
			continue
		}
		if e := q.start + guess*float64(q.waiting[0].width); best < 0 || e < end {
			best, end = i, e
		}
	}
	return best
}

// tick moves a level's virtual time on: by the seats that each of its busy queues has had.
func (d *dispatcher) tick(l *level) {
	now := d.now()
	if l.busy > 0 {
		l.virtual += now.Sub(l.at).Seconds() * float64(min(l.running+l.waiting, max(l.most, 1))) / float64(l.busy)
	}
	l.at = now
}

// deal gives a flow the shortest of the queues of its hand (shuffle sharding).
func (l *level) deal(f flow) int {
	h := fnv.New64a()
	_, _ = h.Write([]byte(f.schema + "\x00" + f.distinguisher))
	bits := h.Sum64()
	var hand [64]int
	best, least := -1, 0
	for i := range min(l.hand, len(l.queues), len(hand)) {
		left := uint64(len(l.queues) - i)
		card := int(bits % left)
		bits /= left
		// The card counts only queues that were not dealt yet.
		for _, taken := range hand[:i] {
			if card >= taken {
				card++
			}
		}
		at, _ := slices.BinarySearch(hand[:i], card)
		copy(hand[at+1:i+1], hand[at:i])
		hand[at] = card
		q := &l.queues[card]
		if best < 0 || q.all < least {
			best, least = card, q.all
		}
	}
	return best
}
