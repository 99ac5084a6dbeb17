package store

import (
	"sort"
	"time"
)

// window is the recent changes of a collection: watches resume from it, and past states are told from it.
type window struct {
	changes []*change
	dropped int64 // how many changes came before those
	oldest  int64 // every change after this revision is here
	bytes   int64 // of the superseded values that the window keeps alive
}

const (
	windowKeep  = 128      // changes kept however old they are
	windowBytes = 32 << 20 // of superseded stored values
)

func (w *window) add(c *change) {
	w.changes = append(w.changes, c)
	w.bytes += c.weight()
}

func (c *change) weight() int64 {
	if c.old == nil {
		return 64
	}
	return 64 + int64(c.old.size)
}

func (w *window) full(cfg Config) bool {
	return len(w.changes) > cfg.WindowEvents || w.bytes > windowBytes
}

// excess is how many of the oldest changes to drop from a full window: a quarter, so that dropping is rare.
func (w *window) excess(Config) int { return max(1, len(w.changes)/4) }

func (w *window) aged(before time.Time) int {
	n := sort.Search(len(w.changes), func(i int) bool { return !w.changes[i].at.Before(before) })
	return min(n, max(0, len(w.changes)-windowKeep))
}

func (w *window) drop(n int) {
	for _, c := range w.changes[:n] {
		w.bytes -= c.weight()
	}
	w.oldest = w.changes[n-1].rev
	// The changes of one revision (a lease that ran out) are dropped together.
	for n < len(w.changes) && w.changes[n].rev == w.oldest {
		w.bytes -= w.changes[n].weight()
		n++
	}
	w.dropped += int64(n)
	rest := make([]*change, len(w.changes)-n, len(w.changes)-n+64)
	copy(rest, w.changes[n:])
	w.changes = rest
}

// after gives the changes after a revision. The slice is shared and must not be changed.
func (w *window) after(rev int64) []*change {
	i := sort.Search(len(w.changes), func(i int) bool { return w.changes[i].rev > rev })
	return w.changes[i:len(w.changes):len(w.changes)]
}

// cut drops the oldest n changes from the window and from every topic.
func (c *Collection) cut(n int) {
	if n <= 0 {
		return
	}
	c.window.drop(n)
	c.topics.trim(c.window.oldest)
}

func (c *Collection) trim(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut(c.window.aged(now.Add(-c.store.cfg.WindowAge)))
	c.past = nil
	c.remembered.forget()
}
