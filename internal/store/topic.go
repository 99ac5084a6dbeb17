package store

import (
	"sync"
	"sync/atomic"

	"hyperkube/internal/object"
)

// topic is one distinct selector that somebody watches, and the log of events that it selects.
type topic struct {
	sel      selector
	id       string
	watchers atomic.Int32 // changed under the collection's lock
	dirty    bool

	mu     sync.Mutex
	log    []*Event
	base   int64 // sequence number of log[0]
	lost   int64 // revision of the newest event dropped from the log
	signal chan struct{}
	ended  error
}

// append adds an event; readers that hold the old slice do not see it.
func (t *topic) append(e *Event) {
	t.mu.Lock()
	t.log = append(t.log, e)
	t.mu.Unlock()
}

// signalPast gives a channel that is closed when there is more than up to a sequence number; nil when there is already, or when the topic
// has ended.
func (t *topic) signalPast(cursor int64) <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if cursor < t.base+int64(len(t.log)) || t.ended != nil {
		return nil
	}
	if t.signal == nil {
		t.signal = make(chan struct{})
	}
	return t.signal
}

func (t *topic) wake() {
	t.mu.Lock()
	if t.signal != nil {
		close(t.signal)
		t.signal = nil
	}
	t.mu.Unlock()
}

func (t *topic) end(err error) {
	t.mu.Lock()
	if t.ended == nil {
		t.ended = err
	}
	t.mu.Unlock()
	t.wake()
}

// trim drops events up to a revision.
func (t *topic) trim(rev int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for n < len(t.log) && t.log[n].Revision <= rev {
		n++
	}
	if n == 0 {
		return
	}
	t.base += int64(n)
	t.lost = t.log[n-1].Revision
	t.log = append(make([]*Event, 0, len(t.log)-n+16), t.log[n:]...)
}

// end is the sequence number of the next event.
func (t *topic) next() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.base + int64(len(t.log))
}

// topics finds those that may select a change. Each topic is in one of the lists. Guarded by the collection's lock.
type topics struct {
	byID      map[string]*topic
	named     map[object.Key][]*topic // one object; or one name in all namespaces
	indexed   map[string][]*topic     // one value of the indexed field
	namespace map[string][]*topic
	wide      []*topic
	dirty     []*topic
}

func (ts *topics) init() {
	ts.byID = map[string]*topic{}
	ts.named = map[object.Key][]*topic{}
	ts.indexed = map[string][]*topic{}
	ts.namespace = map[string][]*topic{}
}

// join gives the topic of a selector with one more watcher.
func (ts *topics) join(sel selector) *topic {
	id := sel.id()
	t := ts.byID[id]
	if t == nil {
		t = &topic{sel: sel, id: id}
		ts.byID[id] = t
		ts.place(t, func(list []*topic) []*topic { return append(list, t) })
	}
	t.watchers.Add(1)
	return t
}

// leave takes one watcher off; a topic without watchers is gone.
func (ts *topics) leave(t *topic) {
	if t.watchers.Add(-1) > 0 || ts.byID[t.id] != t {
		return
	}
	delete(ts.byID, t.id)
	ts.place(t, func(list []*topic) []*topic {
		for i, other := range list {
			if other == t {
				list[i] = list[len(list)-1]
				list[len(list)-1] = nil
				return list[:len(list)-1]
			}
		}
		return list
	})
}

func (ts *topics) place(t *topic, edit func([]*topic) []*topic) {
	switch {
	case t.sel.name != "":
		placeIn(ts.named, object.Key{Namespace: t.sel.namespace, Name: t.sel.name}, edit)
	case t.sel.indexed:
		placeIn(ts.indexed, t.sel.index, edit)
	case t.sel.namespace != "":
		placeIn(ts.namespace, t.sel.namespace, edit)
	default:
		ts.wide = edit(ts.wide)
	}
}

func placeIn[K comparable](m map[K][]*topic, key K, edit func([]*topic) []*topic) {
	if list := edit(m[key]); len(list) > 0 {
		m[key] = list
	} else {
		delete(m, key)
	}
}

// offer gives a change to every topic that selects it, and says whether there was one.
func (ts *topics) offer(c *Collection, ch *change) bool {
	if len(ts.byID) == 0 {
		return false
	}
	some := ch.new
	if some == nil {
		some = ch.old
	}
	key := some.Key()
	ts.offerTo(ts.named[key], ch)
	if key.Namespace != "" {
		ts.offerTo(ts.named[object.Key{Name: key.Name}], ch)
		ts.offerTo(ts.namespace[key.Namespace], ch)
	}
	if c.byIndex != nil {
		ts.offerTo(ts.indexed[some.index], ch)
		if ch.old != nil && ch.old.index != some.index {
			ts.offerTo(ts.indexed[ch.old.index], ch)
		}
	}
	ts.offerTo(ts.wide, ch)
	return len(ts.dirty) > 0
}

func (ts *topics) offerTo(list []*topic, ch *change) {
	for _, t := range list {
		if ch.new != nil && ch.new.Err() != nil {
			t.end(ch.new.Err())
			continue
		}
		ev := ch.event(t.sel.matches(ch.old), t.sel.matches(ch.new))
		if ev == nil {
			continue
		}
		t.append(ev)
		if !t.dirty {
			t.dirty = true
			ts.dirty = append(ts.dirty, t)
		}
	}
}

func (ts *topics) wake() {
	for i, t := range ts.dirty {
		t.dirty = false
		t.wake()
		ts.dirty[i] = nil
	}
	ts.dirty = ts.dirty[:0]
}

func (ts *topics) trim(rev int64) {
	for _, t := range ts.byID {
		t.trim(rev)
	}
}

// end ends every watcher; later ones get topics of their own.
func (ts *topics) end(err error) {
	for _, t := range ts.byID {
		t.end(err)
	}
	ts.init()
	ts.wide, ts.dirty = nil, nil
}
