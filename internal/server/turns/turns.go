// Package turns has watches write one after the other, so that those who wait meanwhile have more to write at once.
//
// A change of a much watched kind is news for hundreds of watches at the same time. Were they all to write at once, each would write
// that one change, and whoever makes changes would wait for all of them; taking turns, each writes in its turn all that has
// happened until then, and requests are served in between: one processor is always left to them. Where nobody waits, a turn costs nothing.
//
// What many watches are told alike they write only so often: after a turn each rests for a time that grows with their number, while requests are served and more
// happens to be written at once. Whoever has rested is not held up: a single event goes out at once, however many are told.
//
// A turn that takes long (the client does not read, or reads slowly) is given to the next in line, and the watch writes without turns until it
// is quick again: a slow client holds up nobody but itself.
package turns

import (
	"context"
	"runtime"
	"sync"
	"time"
)

// long is after what time, while others wait, a turn is taken away: at the earliest, and at twice of it at the latest.
const long = 2 * time.Millisecond

// How long a watch rests: about twice what all that are told the same take for their turns, so that half of the time is left for what is told. Few do not
// rest at all.
const (
	restEach = 50 * time.Microsecond
	restMost = 25 * time.Millisecond
	few      = 16
)

// Line is where turns are waited for, first come, first served.
type Line struct {
	mu      sync.Mutex
	places  []place
	waiting queue
	clock   *time.Timer // runs while anybody waits
	running bool
}

// place is the right to write.
type place struct {
	by  *Turn
	old bool // the clock has seen it in the same turn before
}

// New makes a line where as many write at a time as there are processors but one.
func New() *Line { return NewLine(max(1, runtime.GOMAXPROCS(0)-1)) }

// NewLine makes one with a number of places.
func NewLine(places int) *Line {
	l := &Line{places: make([]place, places)}
	l.clock = time.AfterFunc(time.Hour, l.tick)
	l.clock.Stop()
	return l
}

// Turn is a watch's place in the line. It is for one goroutine.
type Turn struct {
	line  *Line
	given chan struct{}
	gone  bool // waits no more; guarded by the line's lock
	slow  bool
	began time.Time
	rest  *time.Timer // nil before the first rest
}

// Join makes a turn for a new watch.
func (l *Line) Join() *Turn { return &Turn{line: l, given: make(chan struct{}, 1)} }

// Take waits for the turn, unless ctx ends before. After Take comes Done.
func (t *Turn) Take(ctx context.Context) error {
	if t.slow || t.line.enter(t) {
		t.began = time.Now()
		return nil
	}
	select {
	case <-t.given:
		t.began = time.Now()
		return nil
	case <-ctx.Done():
		t.line.leave(t)
		return ctx.Err()
	}
}

// Done ends the turn.
func (t *Turn) Done() {
	if t.slow {
		t.slow = time.Since(t.began) > long
		return
	}
	l := t.line
	l.mu.Lock()
	defer l.mu.Unlock()
	t.slow = !l.free(t)
}

// Rest waits, after a turn and before the next, until as much time has passed since the turn began as so many watches that are told the same leave each other.
func (t *Turn) Rest(ctx context.Context, together int) error {
	if together < few {
		return nil
	}
	left := min(time.Duration(together)*restEach, restMost) - time.Since(t.began)
	if left <= 0 {
		return nil
	}
	if t.rest == nil {
		t.rest = time.NewTimer(left)
	} else {
		t.rest.Reset(left)
	}
	select {
	case <-t.rest.C:
		return nil
	case <-ctx.Done():
		t.rest.Stop()
		return ctx.Err()
	}
}

// enter gives a free place, or queues.
func (l *Line) enter(t *Turn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.places {
		if l.places[i].by == nil {
			l.places[i] = place{by: t}
			return true
		}
	}
	l.waiting.push(t)
	if !l.running {
		l.running = true
		l.clock.Reset(long)
	}
	return false
}

// leave gives up waiting; a turn that was given in the meantime goes to the next.
func (l *Line) leave(t *Turn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t.gone = true
	select {
	case <-t.given:
		l.free(t)
	default:
	}
}

// free gives the place of a turn to the next in line. It says whether the turn still had one. Needs the lock.
func (l *Line) free(t *Turn) bool {
	for i := range l.places {
		if l.places[i].by == t {
			l.next(i)
			return true
		}
	}
	return false
}

func (l *Line) next(i int) {
	for {
		t := l.waiting.pop()
		if t == nil || !t.gone {
			l.places[i] = place{by: t}
			if t != nil {
				t.given <- struct{}{}
			}
			return
		}
	}
}

// tick takes the turns away that were there at the last tick already.
func (l *Line) tick() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.places {
		p := &l.places[i]
		if p.by != nil && p.old {
			l.next(i)
		} else {
			p.old = true
		}
	}
	if l.running = !l.waiting.empty(); l.running {
		l.clock.Reset(long)
	}
}

// queue is first in, first out.
type queue struct {
	all  []*Turn
	head int
}

func (q *queue) empty() bool { return q.head == len(q.all) }

func (q *queue) push(t *Turn) {
	if q.head > len(q.all)/2 && len(q.all) == cap(q.all) {
		n := copy(q.all, q.all[q.head:])
		clear(q.all[n:])
		q.all, q.head = q.all[:n], 0
	}
	q.all = append(q.all, t)
}

func (q *queue) pop() *Turn {
	if q.empty() {
		q.all, q.head = nil, 0
		return nil
	}
	t := q.all[q.head]
	q.all[q.head] = nil
	q.head++
	return t
}
