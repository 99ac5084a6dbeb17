package store

import (
	"sync"
	"time"
)

// clock bounds the bytes of what can be made again. What is used again between two passes stays (the clock algorithm); the
// rest goes, oldest first.
type clock[T keepable] struct {
	budget int64
	mu     sync.Mutex
	bytes  int64
	queue  []T // oldest first, from head on
	head   int

	// brief, when set before anything is added, has the clock swept every so often while it holds something.
	brief            time.Duration
	timer            *time.Timer
	ticking, stopped bool
}

// keepable is something that a clock keeps.
type keepable interface {
	comparable
	// weight in bytes, always the same.
	weight() int64
	// spared says whether it was used since the last time that it was asked so.
	spared() bool
	// release gives it up.
	release()
}

func newClock[T keepable](budget int64) *clock[T] { return &clock[T]{budget: budget} }

func (c *clock[T]) add(e T) {
	var none T
	var evicted []T
	c.mu.Lock()
	c.bytes += e.weight()
	c.queue = append(c.queue, e)
	for c.bytes > c.budget && c.head < len(c.queue) {
		oldest := c.queue[c.head]
		c.queue[c.head] = none
		c.head++
		if oldest != e && oldest.spared() {
			c.queue = append(c.queue, oldest)
			continue
		}
		c.bytes -= oldest.weight()
		evicted = append(evicted, oldest)
	}
	c.compact()
	c.tick()
	c.mu.Unlock()
	for _, e := range evicted {
		e.release()
	}
}

// tick has the clock swept after a while, if there is anything to sweep. Needs the lock.
func (c *clock[T]) tick() {
	if c.brief == 0 || c.ticking || c.stopped || c.head == len(c.queue) {
		return
	}
	c.ticking = true
	if c.timer == nil {
		c.timer = time.AfterFunc(c.brief, c.tock)
		return
	}
	c.timer.Reset(c.brief)
}

func (c *clock[T]) tock() {
	c.sweep()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ticking = false
	c.tick()
}

// stop ends the sweeping. What is held stays.
func (c *clock[T]) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	if c.timer != nil {
		c.timer.Stop()
	}
}

// sweep gives up everything that was not used since the last sweep, and says how many bytes that were.
func (c *clock[T]) sweep() int64 {
	var evicted []T
	c.mu.Lock()
	before := c.bytes
	var kept []T
	for _, e := range c.queue[c.head:] {
		if e.spared() {
			kept = append(kept, e)
			continue
		}
		c.bytes -= e.weight()
		evicted = append(evicted, e)
	}
	c.queue, c.head = kept, 0
	gone := before - c.bytes
	c.mu.Unlock()
	for _, e := range evicted {
		e.release()
	}
	return gone
}

func (c *clock[T]) compact() {
	if c.head < 1024 || c.head*2 < len(c.queue) {
		return
	}
	c.queue = append([]T(nil), c.queue[c.head:]...)
	c.head = 0
}
