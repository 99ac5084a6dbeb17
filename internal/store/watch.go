package store

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/watch"
)

// WatchOptions say what to watch and from when on.
type WatchOptions struct {
	Namespace, Name string // empty: all
	Label           labels.Selector
	Field           fields.Selector
	// ResourceVersion after which events are wanted. "" and "0" begin with an Added event for each object there is,
	// "" at the newest state, "0" at the state that the cache happens to have.
	ResourceVersion string
	// Bookmarks asks for a bookmark each minute without events.
	Bookmarks bool
	// SendInitialEvents true begins with the state, not older than ResourceVersion, and a bookmark at its end;
	// false leaves the state out; nil is as ResourceVersion says.
	SendInitialEvents *bool
}

// Watcher is a place in the events of a selector. Its methods are for one goroutine, save Stop.
type Watcher struct {
	c         *Collection
	t         *topic
	cursor    int64
	after     int64 // events up to this revision are left out
	sent      int64 // revision up to which the reader knows everything, for errors
	initial   []*Event
	bookmarks bool
	idle      *time.Timer // until a bookmark is due
	due       bool        // a bookmark
	stopped   chan struct{}
	stop      sync.Once
}

// maxBatch bounds what one Next returns, so that a reader far behind still flushes now and then.
const maxBatch = 1024

var errStopped = errors.New("the watch was stopped")

// Watch starts a watch. Its events come from [Watcher.Next]; Stop it when it is no longer needed. A watch from a
// revision that is no longer known fails with 410 Expired.
func (c *Collection) Watch(ctx context.Context, o WatchOptions) (*Watcher, error) {
	rev, err := parseRevision(o.ResourceVersion)
	if err != nil {
		return nil, errBadVersion(o.ResourceVersion, err) // no error of the API: a 500
	}
	state := rev == 0
	if o.SendInitialEvents != nil {
		state = *o.SendInitialEvents
	}
	if err := c.watchFrom(ctx, o, rev, state); err != nil {
		if next := c.successor(); next != nil {
			return next.Watch(ctx, o)
		}
		return nil, err
	}
	w := &Watcher{
		c:         c,
		after:     rev,
		bookmarks: o.Bookmarks || o.SendInitialEvents != nil && state,
		stopped:   make(chan struct{}),
	}
	sel := newSelector(c.kind, o.Namespace, o.Name, o.Label, o.Field)
	if state {
		return w, w.startWithState(sel, o.SendInitialEvents != nil)
	}
	return w, w.startAfter(sel, rev)
}

// watchFrom waits until the cache is where the watch may begin.
func (c *Collection) watchFrom(ctx context.Context, o WatchOptions, rev int64, state bool) error {
	switch {
	case o.ResourceVersion == "":
		if _, err := c.store.feed.fresh(ctx); err != nil {
			return err
		}
	case state && rev > 0:
		if err := c.reach(ctx, rev); err != nil {
			return err
		}
	}
	return c.waitReady(ctx)
}

func (w *Watcher) startWithState(sel selector, endMark bool) error {
	c := w.c
	c.mu.Lock()
	if c.stopped != nil || c.loading {
		c.mu.Unlock()
		return errHistoryLost()
	}
	s := c.snapshot()
	w.t = c.topics.join(sel)
	w.cursor = w.t.next()
	c.mu.Unlock()

	w.after, w.sent = s.rev, s.rev
	if err := sel.convert(func(visit func(*Entry) bool) { s.ascend(&sel, "", visit) }); err != nil {
		w.Stop()
		return err
	}
	var failed error
	s.ascend(&sel, "", func(e *Entry) bool {
		if e.Err() != nil {
			failed = e.Err()
			return false
		}
		if sel.matches(e) {
			w.initial = append(w.initial, &Event{Type: watch.Added, Entry: e, Revision: e.Revision})
		}
		return true
	})
	if failed != nil {
		w.Stop()
		return failed
	}
	if endMark {
		w.initial = append(w.initial, newBookmark(c, s.rev, true))
	}
	c.store.metrics.watchers.Inc()
	return nil
}

func (w *Watcher) startAfter(sel selector, rev int64) error {
	c := w.c
	c.mu.Lock()
	if c.stopped != nil || c.loading {
		c.mu.Unlock()
		return errHistoryLost()
	}
	if rev == 0 {
		// Without a revision and without the state: from now on.
		rev = c.revision()
		w.after = rev
	}
	if rev < c.window.oldest {
		oldest := c.window.oldest
		c.mu.Unlock()
		return errTooOld(rev, oldest)
	}
	missed := c.window.after(rev)
	w.t = c.topics.join(sel)
	w.cursor = w.t.next()
	c.mu.Unlock()

	w.sent = rev
	for _, ch := range missed {
		if ch.new != nil && ch.new.Err() != nil {
			w.Stop()
			return ch.new.Err()
		}
		if ev := ch.event(sel.matches(ch.old), sel.matches(ch.new)); ev != nil {
			w.initial = append(w.initial, ev)
		}
	}
	c.store.metrics.watchers.Inc()
	return nil
}

// Stop ends the watch. It may be called from any goroutine and more than once.
func (w *Watcher) Stop() {
	w.stop.Do(func() {
		close(w.stopped)
		w.c.mu.Lock()
		defer w.c.mu.Unlock()
		w.c.topics.leave(w.t)
	})
}

// Together is how many watchers, this one included, are told the same.
func (w *Watcher) Together() int { return int(w.t.watchers.Load()) }

// Next blocks until there are events and gives them, oldest first. The slice and the events are shared and must not be changed.
// An error is the end: that of ctx, a status error to send to the client (410 when the watcher was too slow or history was lost), or
// that the watch was stopped.
func (w *Watcher) Next(ctx context.Context) ([]*Event, error) {
	for {
		if err := w.Ready(ctx); err != nil {
			return nil, err
		}
		if events, err := w.take(); err != nil || len(events) > 0 {
			return events, err
		}
	}
}

// Ready blocks until [Watcher.Next] has something to give, which then gives all that has come until it is called. Its errors are those of Next.
func (w *Watcher) Ready(ctx context.Context) error {
	if len(w.initial) > 0 || w.due {
		return nil
	}
	signal := w.t.signalPast(w.cursor)
	if signal == nil {
		return nil
	}
	var idle <-chan time.Time
	if w.bookmarks {
		if w.idle == nil {
			w.idle = time.NewTimer(w.c.store.cfg.BookmarkInterval)
		} else {
			w.idle.Reset(w.c.store.cfg.BookmarkInterval)
		}
		defer w.idle.Stop()
		idle = w.idle.C
	}
	select {
	case <-signal:
		return nil
	case <-idle:
		w.due = true
		return nil
	case <-w.stopped:
		return errStopped
	case <-ctx.Done():
		return ctx.Err()
	}
}

// take gives what there is.
func (w *Watcher) take() ([]*Event, error) {
	if len(w.initial) > 0 {
		n := min(len(w.initial), maxBatch)
		out := w.initial[:n:n]
		if w.initial = w.initial[n:]; len(w.initial) == 0 {
			w.initial = nil
		}
		return out, nil
	}
	// Read before the poll: when that finds nothing, everything up to reached has been given.
	reached := w.c.store.feed.rev.Load()
	events, err := w.poll()
	if err != nil || len(events) > 0 || !w.due {
		w.due = false
		return events, err
	}
	w.due = false
	w.sent = max(w.sent, w.after, reached)
	return []*Event{newBookmark(w.c, w.sent, false)}, nil
}

// poll gives what is in the log past the cursor.
func (w *Watcher) poll() ([]*Event, error) {
	t := w.t
	t.mu.Lock()
	defer t.mu.Unlock()
	for {
		if w.cursor < t.base && w.sent < t.lost {
			return nil, errSlowWatcher(w.sent, t.lost)
		}
		from := max(0, w.cursor-t.base)
		events := t.log[from:]
		if len(events) == 0 {
			w.cursor = max(w.cursor, t.base)
			return nil, t.ended
		}
		events = events[:min(len(events), maxBatch):min(len(events), maxBatch)]
		w.cursor = t.base + from + int64(len(events))
		if events = since(events, w.after); len(events) > 0 {
			w.sent = events[len(events)-1].Revision
			return events, nil
		}
	}
}

// since leaves out events up to a revision: a watch may begin at one that has not come yet.
func since(events []*Event, rev int64) []*Event {
	for len(events) > 0 && events[0].Revision <= rev {
		events = events[1:]
	}
	return events
}

// parseRevision reads a resourceVersion; "" and "0" are 0.
func parseRevision(rv string) (int64, error) {
	if rv == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(rv, 10, 63)
	return int64(n), err
}
