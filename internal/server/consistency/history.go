// Package consistency judges what clients of an API server saw of one collection against what the datastore went
// through. It is for tests, and pure: the caller records, this package compares.
//
// The history is the datastore's own: every change of every key in the order of revisions. Against it stand the
// observations of clients: watches, lists and reads, each with what it was promised. Every guarantee of list and watch is a named
// error, so that a run says which one was broken; whoever finds none has found nothing wrong with any of them.
//
// What is not judged: how soon an event comes, and whether a request that failed was done.
package consistency

import (
	"fmt"
	"maps"
	"slices"
	"sort"
)

// Change is what one revision did to one key.
type Change struct {
	Revision int64
	Key      string
	Deleted  bool
	// Value tells versions of an object apart; Label is what selectors look at. A deletion has none.
	Value, Label string
}

// Filter picks versions of objects; nil picks all.
type Filter func(Change) bool

func (f Filter) match(c *Change) bool { return c != nil && !c.Deleted && (f == nil || f(*c)) }

// The types of events.
const (
	Added    = "ADDED"
	Modified = "MODIFIED"
	Deleted  = "DELETED"
	Bookmark = "BOOKMARK"
)

// Event is one of a watch. A bookmark has only a revision; one that ends the initial events says so.
type Event struct {
	Type, Key  string
	Revision   int64
	Value      string
	InitialEnd bool
}

func (e Event) String() string { return fmt.Sprintf("%s %s@%d %q", e.Type, e.Key, e.Revision, e.Value) }

// History is all that happened, in order. It is made once and then only read.
type History struct {
	changes []Change
	keys    map[string][]int // places of a key's changes
}

// NewHistory takes the changes in the order of their revisions; each revision changed one key.
func NewHistory(changes []Change) (*History, error) {
	h := &History{changes: changes, keys: map[string][]int{}}
	for i, c := range changes {
		if i > 0 && c.Revision <= changes[i-1].Revision {
			return nil, fmt.Errorf("revision %d comes after %d", c.Revision, changes[i-1].Revision)
		}
		h.keys[c.Key] = append(h.keys[c.Key], i)
	}
	return h, nil
}

// version is the last change of a key up to a revision; nil when there was none.
func (h *History) version(key string, rev int64) *Change {
	places := h.keys[key]
	n := sort.Search(len(places), func(i int) bool { return h.changes[places[i]].Revision > rev })
	if n == 0 {
		return nil
	}
	return &h.changes[places[n-1]]
}

// next is the first change of a key after a revision; nil when there is none.
func (h *History) next(key string, rev int64) *Change {
	places := h.keys[key]
	n := sort.Search(len(places), func(i int) bool { return h.changes[places[i]].Revision > rev })
	if n == len(places) {
		return nil
	}
	return &h.changes[places[n]]
}

// state is what a list at a revision has, in the order of keys.
func (h *History) state(rev int64, f Filter) []Change {
	var all []Change
	for _, key := range slices.Sorted(maps.Keys(h.keys)) {
		if c := h.version(key, rev); f.match(c) {
			all = append(all, *c)
		}
	}
	return all
}

// events are those of a watch from a revision on: an object that comes to match is added, one that ceases to is deleted.
func (h *History) events(after int64, f Filter) []Event {
	first := sort.Search(len(h.changes), func(i int) bool { return h.changes[i].Revision > after })
	var all []Event
	for i := first; i < len(h.changes); i++ {
		c := &h.changes[i]
		old := h.version(c.Key, c.Revision-1)
		was, is := f.match(old), f.match(c)
		e := Event{Key: c.Key, Revision: c.Revision, Value: c.Value}
		switch {
		case is && was:
			e.Type = Modified
		case is:
			e.Type = Added
		case was:
			e.Type, e.Value = Deleted, old.Value // as it was when it was last seen
		default:
			continue
		}
		all = append(all, e)
	}
	return all
}
