package consistency

import (
	"errors"
	"fmt"
	"slices"
)

// The guarantees of a watch.
var (
	ErrEventLost      = errors.New("a watch left out an event")
	ErrEventDoubled   = errors.New("a watch sent an event twice")
	ErrEventOrder     = errors.New("a watch sent events out of order")
	ErrEventUnknown   = errors.New("a watch sent what did not happen")
	ErrEventOld       = errors.New("a watch sent an event from before its beginning")
	ErrBookmarkOrder  = errors.New("bookmarks went backwards")
	ErrBookmarkAhead  = errors.New("a bookmark told of a revision whose events had not come")
	ErrInitialEvents  = errors.New("the initial events of a watch are not what there was")
	ErrWatchStalled   = errors.New("a watch stopped before the end")
	ErrCompactedWatch = errors.New("a watch began at a revision that is compacted")
)

// The guarantees of lists and reads.
var (
	ErrListContent   = errors.New("a list is not what there was at its revision")
	ErrListPages     = errors.New("the pages of a list are of several revisions")
	ErrListRemaining = errors.New("a page told a wrong number of remaining items")
	ErrListOlder     = errors.New("a list is older than was asked for")
	ErrListNotExact  = errors.New("a list is not of the revision that was asked for")
	ErrListStale     = errors.New("a consistent list misses an acknowledged write")
	ErrReadStale     = errors.New("a consistent read misses an acknowledged write")
	ErrReadUnknown   = errors.New("a read gave what never was")
	ErrCompactedList = errors.New("a list at a revision that is compacted was answered")
)

// Watch is what one watch saw, from its request to its end.
type Watch struct {
	Name string
	// From is the revision after which it began; Initial watches begin with what there is, and From is 0.
	From    int64
	Initial bool
	Filter  Filter
	Events  []Event
	// Until is a revision up to which it had to come; 0 for a watch that was ended before.
	Until int64
	// Compacted says that From was compacted when it was asked for.
	Compacted bool
}

// Check gives the first guarantee that the watch broke.
func (w *Watch) Check(h *History) error {
	if w.Compacted {
		return fmt.Errorf("%s from %d: %w", w.Name, w.From, ErrCompactedWatch)
	}
	events, after := w.Events, w.From
	if w.Initial {
		n := slices.IndexFunc(events, func(e Event) bool { return e.InitialEnd })
		if n < 0 {
			return nil // ended before all initial events were there
		}
		after = events[n].Revision
		if err := initial(h.state(after, w.Filter), events[:n]); err != nil {
			return fmt.Errorf("%s, initial events at %d: %w", w.Name, after, err)
		}
		events = events[n+1:]
	}
	if err := follow(h.events(after, w.Filter), after, w.Until, events); err != nil {
		return fmt.Errorf("%s after %d: %w", w.Name, after, err)
	}
	return nil
}

func initial(want []Change, got []Event) error {
	seen := map[string]Event{}
	for _, e := range got {
		if e.Type == Bookmark {
			continue
		}
		if _, twice := seen[e.Key]; twice || e.Type != Added {
			return fmt.Errorf("%w: %s", ErrInitialEvents, e)
		}
		seen[e.Key] = e
	}
	for _, c := range want {
		if e, ok := seen[c.Key]; !ok || e.Revision != c.Revision || e.Value != c.Value {
			return fmt.Errorf("%w: %s@%d, got %s", ErrInitialEvents, c.Key, c.Revision, e)
		}
	}
	if len(seen) != len(want) {
		return fmt.Errorf("%w: %d objects, want %d", ErrInitialEvents, len(seen), len(want))
	}
	return nil
}

// follow compares a stream with the events that there were.
func follow(want []Event, after, until int64, got []Event) error {
	next, bookmark := 0, after
	for _, e := range got {
		if e.Type == Bookmark {
			switch {
			case e.Revision < bookmark:
				return fmt.Errorf("%w: %d after %d", ErrBookmarkOrder, e.Revision, bookmark)
			case next < len(want) && want[next].Revision <= e.Revision:
				return fmt.Errorf("%w: %d before %s", ErrBookmarkAhead, e.Revision, want[next])
			}
			bookmark = e.Revision
			continue
		}
		if next < len(want) && e == want[next] {
			next, bookmark = next+1, max(bookmark, e.Revision)
			continue
		}
		return mistake(want, next, after, e)
	}
	if next < len(want) && want[next].Revision <= until {
		return fmt.Errorf("%w: it never sent %s", ErrWatchStalled, want[next])
	}
	return nil
}

// mistake names what is wrong with an event in the place of want[next].
func mistake(want []Event, next int, after int64, e Event) error {
	at := slices.Index(want, e)
	switch {
	case at >= next:
		return fmt.Errorf("%w: %s before %s", ErrEventLost, want[next], e)
	case at >= 0 && at == next-1:
		return fmt.Errorf("%w: %s", ErrEventDoubled, e)
	case at >= 0:
		return fmt.Errorf("%w: %s after %s", ErrEventOrder, e, want[next-1])
	case e.Revision <= after:
		return fmt.Errorf("%w: %s after %d", ErrEventOld, e, after)
	}
	return fmt.Errorf("%w: %s", ErrEventUnknown, e)
}

// Item is an object of a list.
type Item struct {
	Key      string
	Revision int64
	Value    string
}

// Page is a part of a list. Remaining is nil when the page does not tell it.
type Page struct {
	Revision  int64
	Items     []Item
	Remaining *int64
}

// List is what one list gave, in all its pages.
type List struct {
	Name   string
	Filter Filter
	// Exact, AtLeast: the revision that was asked for; 0 for none.
	Exact, AtLeast int64
	// Floor is a revision that was acknowledged before the list was asked for; 0 for lists that may be old.
	Floor int64
	Pages []Page
	// Whole says that all pages were read.
	Whole bool
	// Compacted says that Exact was compacted when it was asked for.
	Compacted bool
}

// Check gives the first guarantee that the list broke.
func (l *List) Check(h *History) error {
	if len(l.Pages) == 0 {
		return nil
	}
	if err := l.check(h, l.Pages[0].Revision); err != nil {
		return fmt.Errorf("%s at %d: %w", l.Name, l.Pages[0].Revision, err)
	}
	return nil
}

func (l *List) check(h *History, rev int64) error {
	switch {
	case l.Compacted:
		return ErrCompactedList
	case l.Exact != 0 && rev != l.Exact:
		return fmt.Errorf("%w: %d", ErrListNotExact, l.Exact)
	case rev < l.AtLeast:
		return fmt.Errorf("%w: %d", ErrListOlder, l.AtLeast)
	case rev < l.Floor:
		return fmt.Errorf("%w: %d", ErrListStale, l.Floor)
	}
	want, place := h.state(rev, l.Filter), 0
	for _, p := range l.Pages {
		if p.Revision != rev {
			return fmt.Errorf("%w: %d", ErrListPages, p.Revision)
		}
		for _, i := range p.Items {
			if place == len(want) || (Item{want[place].Key, want[place].Revision, want[place].Value}) != i {
				return fmt.Errorf("%w: item %d is %v", ErrListContent, place, i)
			}
			place++
		}
		if p.Remaining != nil && *p.Remaining != int64(len(want)-place) {
			return fmt.Errorf("%w: %d, want %d", ErrListRemaining, *p.Remaining, len(want)-place)
		}
	}
	if l.Whole && place < len(want) {
		return fmt.Errorf("%w: %s is missing", ErrListContent, want[place].Key)
	}
	return nil
}

// Read is what one consistent read of a key gave.
type Read struct {
	Key string
	// Floor is a revision that was acknowledged before the read.
	Floor int64
	// Revision of what was read; 0 when there was nothing.
	Revision int64
	Value    string
}

// Check gives the first guarantee that the read broke.
func (r *Read) Check(h *History) error {
	if r.Revision == 0 {
		// It is not there now, or was deleted at some time since.
		for c := h.version(r.Key, r.Floor); c != nil && !c.Deleted; {
			if c = h.next(r.Key, c.Revision); c == nil {
				return fmt.Errorf("%s, acknowledged by %d, was not found: %w", r.Key, r.Floor, ErrReadStale)
			}
		}
		return nil
	}
	c := h.version(r.Key, r.Revision)
	if c == nil || c.Revision != r.Revision || c.Deleted || c.Value != r.Value {
		return fmt.Errorf("%s@%d %q: %w", r.Key, r.Revision, r.Value, ErrReadUnknown)
	}
	if n := h.next(r.Key, r.Revision); n != nil && n.Revision <= r.Floor {
		return fmt.Errorf("%s@%d, where %d was acknowledged: %w", r.Key, r.Revision, n.Revision, ErrReadStale)
	}
	return nil
}
