package fairness

import (
	"hash/fnv"
	"slices"
	"sync"
	"sync/atomic"
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

	mu       sync.Mutex
	levels   map[string]*level
	order    []*level  // by name
	since    time.Time // when seats were divided last
	fraction float64   // by which targets were multiplied then
	alarm    *time.Timer
}

// level is one priority level.
type level struct {
	name     string
	exempt   bool
	leaving  bool // no longer configured: it ends with those that are in it
	nominal  int  // seats of its own
	reserved int  // of those, the seats that it does not lend
	most     int  // seats with all that it may borrow
	current  int  // seats that it may use now
	queues   []queue
	length   int // of a queue, at most; 0: nothing waits
	hand     int

	used, running, waiting, waitingSeats int
	busy                                 int     // queues that have requests
	virtual                              float64 // the virtual time of the queues
	at                                   time.Time
	lastDispatch, lastStart              float64 // virtual times: of the last dispatch, and what its request was to start at

	demand  demand
	shares  shareStats
	gauges  gauges
	schemas map[string]*counts // by FlowSchema
	wide    atomic.Int64       // seats that one request may take

	executing                             map[*ticket]struct{}
	dispatched, full, timedOut, cancelled int // since the level is there
}

// counts are the requests of one FlowSchema.
type counts struct{ waiting, waitingSeats, running, seats, dispatched, unaccommodated int }

func newLevel(name string, now time.Time) *level {
	return &level{name: name, at: now, executing: map[*ticket]struct{}{}, schemas: map[string]*counts{}, demand: demand{began: now, at: now}, gauges: newGauges(now)}
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
	width   int              // seats until it has ended, the most of what it takes
	first   int              // seats while it is served
	last    int              // seats of what it sets off, such as events for watchers; 0: nothing
	linger  time.Duration    // for which it keeps its seats after it was served
	arrived time.Time
	began   time.Time
	call    chan struct{} // closed when it has its seats; nil: it had them at once
}

func (t *ticket) waits() bool { return t.call != nil }

// exempt counts a request that never waits.
func (d *dispatcher) exempt(l *level, f flow, w work, req *request.Request) *ticket {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	d.adjust(now)
	t := newTicket(l, f, w, req, now)
	t.free, t.began = true, now
	l.running++
	l.used += t.width
	l.begun(t)
	l.changed(now)
	return t
}

func newTicket(l *level, f flow, w work, req *request.Request, now time.Time) *ticket {
	return &ticket{level: l, flow: f, req: req, queue: -1, width: max(w.first, w.last), first: w.first, last: w.last, linger: w.linger, arrived: now}
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

// enter gives a request its seats, or a place in a queue, or the reason of its refusal. queued is how many requests were in the queue before
// it; -1: it was not put into one.
func (d *dispatcher) enter(l *level, f flow, w work, req *request.Request) (t *ticket, queued int, refused string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	d.adjust(now)
	defer l.changed(now)
	d.tick(l)
	t = newTicket(l, f, w, req, now)
	queued = -1
	if len(l.queues) > 0 {
		t.queue = l.deal(f)
		queued = len(l.queues[t.queue].waiting)
	}
	if l.waiting == 0 && l.free(t.width) {
		if t.queue >= 0 {
			l.come(&l.queues[t.queue])
		}
		d.start(t)
		return t, queued, ""
	}
	if len(l.queues) == 0 {
		l.full++
		return nil, queued, "concurrency-limit"
	}
	q := &l.queues[t.queue]
	if len(q.waiting) >= l.length {
		l.full++
		return nil, queued, "queue-full"
	}
	l.come(q)
	t.call = make(chan struct{})
	q.waiting = append(q.waiting, t)
	l.waits(t, 1)
	d.serve(l)
	return t, queued, ""
}

// leave gives seats back and calls those that wait for them.
func (d *dispatcher) leave(t *ticket) {
	d.mu.Lock()
	defer d.mu.Unlock()
	l, now := t.level, d.now()
	d.adjust(now)
	defer l.changed(now)
	l.ended(t)
	l.used -= t.width
	l.running--
	if t.free {
		return
	}
	d.tick(l)
	if t.queue >= 0 && t.queue < len(l.queues) {
		q := &l.queues[t.queue]
		l.gone(q)
		// It is charged for what it took, not for what was guessed.
		q.start -= (guess - now.Sub(t.began).Seconds()) * float64(t.width)
	}
	d.serve(l)
}

// Why a request that waited is refused.
const (
	timeOut   = "time-out"
	cancelled = "cancelled"
)

// waits counts a request that begins (1) or ends (-1) to wait.
func (l *level) waits(t *ticket, by int) {
	l.waiting += by
	l.waitingSeats += by * t.width
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
	t.level.changed(d.now())
	if why == timeOut {
		t.level.timedOut++
	} else {
		t.level.cancelled++
	}
	return true
}

// free tells whether a level may take that many seats more.
func (l *level) free(width int) bool {
	return l.running == 0 || l.used+width <= l.current // even a level without a seat of its own goes on, one by one
}

// start gives the ticket its seats.
func (d *dispatcher) start(t *ticket) {
	l := t.level
	l.used += t.width
	l.running++
	t.began = d.now()
	l.begun(t)
	if t.queue >= 0 {
		q := &l.queues[t.queue]
		l.lastDispatch, l.lastStart = l.virtual, q.start
		q.start += guess * float64(t.width)
	}
	if t.call != nil {
		close(t.call)
	}
}

// serve calls those of a level that can be served. While somebody waits, seats are divided anew in time, though nothing comes or goes.
func (d *dispatcher) serve(l *level) {
	for l.waiting > 0 {
		q := l.next()
		t := l.queues[q].waiting[0]
		if !l.free(t.width) {
			l.of(t.flow.schema).unaccommodated++
			d.wake()
			return
		}
		l.queues[q].waiting = slices.Delete(l.queues[q].waiting, 0, 1)
		l.waits(t, -1)
		d.start(t)
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
		l.virtual += now.Sub(l.at).Seconds() * float64(min(l.used+l.waitingSeats, max(l.current, 1))) / float64(l.busy)
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
