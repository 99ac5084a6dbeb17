package plan

import (
	"sync"
	"time"
)

// Delays of containers that end again and again.
const (
	firstDelay = 10 * time.Second
	maxDelay   = 300 * time.Second
	forgetting = 10 * time.Minute // a container that ran this long starts over
)

// Backoff counts how often the containers of one pod ended, and from that how long each waits: not at all the first
// time, then 10 s, doubling up to the maximum. The zero value is ready. Safe for concurrent use.
type Backoff struct {
	Max time.Duration // 0 is 5 minutes

	mu      sync.Mutex
	entries map[string]entry
}

type entry struct {
	delay time.Duration
	last  time.Time // the end that the delay was set for
}

// Until is the time at which a container that ended at finished may start again.
func (b *Backoff) Until(container string, finished time.Time) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	e, ok := b.entries[container]
	if !ok || finished.Sub(e.last) > forgetting {
		return time.Time{}
	}
	return finished.Add(e.delay)
}

// Started tells that a container is started again after it ended at finished; the next end waits longer.
func (b *Backoff) Started(container string, finished time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	limit := b.Max
	if limit == 0 {
		limit = maxDelay
	}
	e, ok := b.entries[container]
	if !ok || finished.Sub(e.last) > forgetting {
		e.delay = firstDelay
	} else {
		e.delay *= 2
	}
	e.delay, e.last = min(e.delay, limit), finished
	if b.entries == nil {
		b.entries = map[string]entry{}
	}
	b.entries[container] = e
}

// Delay is the container's present delay, for messages.
func (b *Backoff) Delay(container string) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.entries[container].delay
}
