package store

import (
	"slices"
	"strings"
	"sync"
)

const (
	// rememberLists is how many lists of a collection are remembered.
	rememberLists = 16
	// rememberFrom is how many entries must have been looked at for a list to be worth remembering.
	rememberFrom = 64
	// rememberChanges is how many changes are made to a remembered list, rather than looking at every entry again.
	rememberChanges = 256
)

// remembered are lists that were asked for within the last minute or so: whoever asks again gets the same entries with what has changed since, which is
// work for each change and not for each entry. Entries that were looked at and left out cost as much as others, so that lists by label gain most.
type remembered struct {
	mu    sync.Mutex
	lists []*listed // the one used last is last
}

// listed is what a selector selected of a state. It never changes.
type listed struct {
	id string
	at moment
	// entries in the order of keys, none of them undecodable.
	entries []*Entry
	shared  *sharedItems
}

// moment is a state of a collection by how many changes led to it. A revision would not do: it may have many changes.
type moment struct{ generation, changes int64 }

// remembers says whether a list of this selector may be remembered. Fields are left out: what they say of an object may be that of another version.
func (s *selector) remembers() bool { return s.name == "" && !s.indexed && s.field == nil }

func (r *remembered) get(id string) *listed {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, l := range r.lists {
		if l.id == id {
			r.lists = append(slices.Delete(r.lists, i, i+1), l)
			return l
		}
	}
	return nil
}

func (r *remembered) put(l *listed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lists = slices.DeleteFunc(r.lists, func(other *listed) bool { return other.id == l.id })
	if len(r.lists) >= rememberLists {
		r.lists = slices.Delete(r.lists, 0, 1)
	}
	r.lists = append(r.lists, l)
}

func (r *remembered) forget() {
	r.mu.Lock()
	r.lists = nil
	r.mu.Unlock()
}

// pageAt gives the list as it is after some changes; nil when one of them is a value that cannot be decoded.
func (l *listed) pageAt(rev int64, changes []*change, sel *selector) *Page {
	entries, items, own := l.entries, l.shared, false
	for _, ch := range changes {
		if ch.new != nil && ch.new.Err() != nil {
			return nil
		}
		if !sel.matches(ch.old) && !sel.matches(ch.new) {
			continue
		}
		if !own {
			entries, items, own = slices.Clone(entries), nil, true
		}
		entries = ch.in(entries, sel)
	}
	return &Page{Entries: entries, Revision: rev, shared: items}
}

// in makes the change to a list.
func (ch *change) in(entries []*Entry, sel *selector) []*Entry {
	key := ""
	if ch.new != nil {
		key = ch.new.key
	} else {
		key = ch.old.key
	}
	i, there := slices.BinarySearchFunc(entries, key, func(e *Entry, key string) int { return strings.Compare(e.key, key) })
	switch selected := sel.matches(ch.new); {
	case there && selected:
		entries[i] = ch.new
	case there:
		return slices.Delete(entries, i, i+1)
	case selected:
		return slices.Insert(entries, i, ch.new)
	}
	return entries
}

// moment is that of the present state. Needs the lock.
func (c *Collection) moment() moment {
	return moment{c.generation, c.window.dropped + int64(len(c.window.changes))}
}

// since is the remembered list of a selector and what has changed after it; nil when there is none that helps. Needs the lock.
func (c *Collection) since(id string) (*listed, []*change) {
	l := c.remembered.get(id)
	if l == nil || l.at.generation != c.generation || l.at.changes < c.window.dropped {
		return nil, nil
	}
	changes := c.window.changes[l.at.changes-c.window.dropped:]
	if len(changes) > rememberChanges {
		return nil, nil
	}
	return l, changes[:len(changes):len(changes)]
}
