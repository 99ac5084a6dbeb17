package consistency

import (
	"errors"
	"slices"
	"testing"
)

// history is two objects that come, change, are relabelled and go.
func history(t *testing.T) *History {
	t.Helper()
	h, err := NewHistory([]Change{
		{Revision: 2, Key: "a", Value: "1", Label: "x"},
		{Revision: 3, Key: "b", Value: "1", Label: "x"},
		{Revision: 5, Key: "a", Value: "2", Label: "y"},
		{Revision: 6, Key: "b", Value: "2", Label: "x"},
		{Revision: 7, Key: "a", Deleted: true},
		{Revision: 9, Key: "a", Value: "3", Label: "x"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func onlyX(c Change) bool { return c.Label == "x" }

func all() []Event {
	return []Event{
		{Type: Added, Key: "a", Revision: 2, Value: "1"}, {Type: Added, Key: "b", Revision: 3, Value: "1"},
		{Type: Modified, Key: "a", Revision: 5, Value: "2"}, {Type: Modified, Key: "b", Revision: 6, Value: "2"},
		{Type: Deleted, Key: "a", Revision: 7, Value: "2"}, {Type: Added, Key: "a", Revision: 9, Value: "3"},
	}
}

func bookmark(rev int64) Event { return Event{Type: Bookmark, Revision: rev} }

func TestWatchesAreJudged(t *testing.T) {
	insert := func(at int, e ...Event) []Event { return slices.Insert(all(), at, e...) }
	without := func(at int) []Event { return slices.Delete(all(), at, at+1) }
	initialAt5 := []Event{{Type: Added, Key: "b", Revision: 3, Value: "1"}, {Type: Added, Key: "a", Revision: 5, Value: "2"}, {Type: Bookmark, Revision: 5, InitialEnd: true}}
	for name, c := range map[string]struct {
		w    Watch
		want error
	}{
		"all":             {Watch{From: 1, Events: all(), Until: 9}, nil},
		"a beginning":     {Watch{From: 1, Events: all()[:3]}, nil},
		"from the middle": {Watch{From: 5, Events: all()[3:], Until: 9}, nil},
		"bookmarks":       {Watch{From: 1, Events: insert(2, bookmark(3), bookmark(4), bookmark(4))}, nil},
		"selected": {Watch{From: 1, Filter: onlyX, Until: 9, Events: []Event{all()[0], all()[1],
			{Type: Deleted, Key: "a", Revision: 5, Value: "1"}, all()[3], all()[5]}}, nil},
		"initial":                        {Watch{Initial: true, Events: append(slices.Clone(initialAt5), all()[3:]...), Until: 9}, nil},
		"initial, broken off":            {Watch{Initial: true, Events: initialAt5[:1]}, nil},
		"an event is left out":           {Watch{From: 1, Events: without(2)}, ErrEventLost},
		"the end is left out":            {Watch{From: 1, Events: all()[:5], Until: 9}, ErrWatchStalled},
		"an event comes twice":           {Watch{From: 1, Events: insert(2, all()[1])}, ErrEventDoubled},
		"an old event comes again":       {Watch{From: 1, Events: insert(4, all()[1])}, ErrEventOrder},
		"an event of before":             {Watch{From: 3, Events: all()[1:]}, ErrEventOld},
		"two change places":              {Watch{From: 1, Events: slices.Concat(all()[1:2], all()[:1], all()[2:])}, ErrEventLost},
		"another type":                   {Watch{From: 1, Events: []Event{{Type: Modified, Key: "a", Revision: 2, Value: "1"}}}, ErrEventUnknown},
		"another content":                {Watch{From: 1, Events: []Event{{Type: Added, Key: "a", Revision: 2, Value: "2"}}}, ErrEventUnknown},
		"a revision that never was":      {Watch{From: 1, Events: append(all(), Event{Type: Added, Key: "c", Revision: 10})}, ErrEventUnknown},
		"a selected one misses its end":  {Watch{From: 1, Filter: onlyX, Events: []Event{all()[0], all()[1], all()[3]}}, ErrEventLost},
		"bookmarks go backwards":         {Watch{From: 1, Events: insert(2, bookmark(4), bookmark(3))}, ErrBookmarkOrder},
		"a bookmark before an event":     {Watch{From: 1, Events: insert(2, bookmark(5))}, ErrBookmarkAhead},
		"a bookmark from before":         {Watch{From: 5, Events: []Event{bookmark(4)}}, ErrBookmarkOrder},
		"an initial object is missing":   {Watch{Initial: true, Events: initialAt5[1:]}, ErrInitialEvents},
		"an initial object is old":       {Watch{Initial: true, Events: append([]Event{all()[0]}, initialAt5[0], initialAt5[2])}, ErrInitialEvents},
		"an initial object is twice":     {Watch{Initial: true, Events: append([]Event{initialAt5[0]}, initialAt5...)}, ErrInitialEvents},
		"an initial object that is gone": {Watch{Initial: true, Events: []Event{all()[1], all()[2], {Type: Bookmark, Revision: 7, InitialEnd: true}}}, ErrInitialEvents},
		"a compacted beginning":          {Watch{From: 1, Compacted: true}, ErrCompactedWatch},
	} {
		c.w.Name = name
		if err := c.w.Check(history(t)); !errors.Is(err, c.want) || (c.want == nil) != (err == nil) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestListsAreJudged(t *testing.T) {
	a5, b3, b6 := Item{"a", 5, "2"}, Item{"b", 3, "1"}, Item{"b", 6, "2"}
	page := func(rev int64, items ...Item) []Page { return []Page{{Revision: rev, Items: items}} }
	one, none := int64(1), int64(0)
	for name, c := range map[string]struct {
		l    List
		want error
	}{
		"whole":                  {List{Pages: page(5, a5, b3), Whole: true}, nil},
		"between revisions":      {List{Pages: page(8, b6), Whole: true}, nil},
		"selected":               {List{Pages: page(6, b6), Whole: true, Filter: onlyX}, nil},
		"pages":                  {List{Pages: []Page{{5, []Item{a5}, &one}, {5, []Item{b3}, &none}}, Whole: true, Exact: 5, AtLeast: 5, Floor: 5}, nil},
		"broken off":             {List{Pages: page(5, a5)}, nil},
		"no answer":              {List{Whole: true, Exact: 3}, nil},
		"an object is missing":   {List{Pages: page(5, a5), Whole: true}, ErrListContent},
		"an object is old":       {List{Pages: page(6, a5, b3), Whole: true}, ErrListContent},
		"an object too many":     {List{Pages: page(7, a5, b6), Whole: true}, ErrListContent},
		"another content":        {List{Pages: page(5, Item{"a", 5, "1"}, b3), Whole: true}, ErrListContent},
		"not in order":           {List{Pages: page(5, b3, a5), Whole: true}, ErrListContent},
		"pages of two revisions": {List{Pages: []Page{{5, []Item{a5}, nil}, {6, []Item{b6}, nil}}}, ErrListPages},
		"wrong remainder":        {List{Pages: []Page{{5, []Item{a5}, &none}}}, ErrListRemaining},
		"not exact":              {List{Pages: page(5, a5, b3), Exact: 6}, ErrListNotExact},
		"older than asked for":   {List{Pages: page(5, a5, b3), AtLeast: 6}, ErrListOlder},
		"stale":                  {List{Pages: page(5, a5, b3), Floor: 6}, ErrListStale},
		"compacted":              {List{Pages: page(5, a5, b3), Exact: 5, Compacted: true}, ErrCompactedList},
	} {
		c.l.Name = name
		if err := c.l.Check(history(t)); !errors.Is(err, c.want) || (c.want == nil) != (err == nil) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestReadsAreJudged(t *testing.T) {
	for name, c := range map[string]struct {
		r    Read
		want error
	}{
		"newest":           {Read{"a", 5, 5, "2"}, nil},
		"newer":            {Read{"b", 5, 6, "2"}, nil},
		"not there":        {Read{"a", 8, 0, ""}, nil},
		"deleted since":    {Read{"a", 5, 0, ""}, nil},
		"never there":      {Read{"c", 9, 0, ""}, nil},
		"old":              {Read{"a", 5, 2, "1"}, ErrReadStale},
		"old, then gone":   {Read{"a", 7, 5, "2"}, ErrReadStale},
		"there, not found": {Read{"b", 4, 0, ""}, ErrReadStale},
		"never was":        {Read{"a", 2, 4, "1"}, ErrReadUnknown},
		"other content":    {Read{"a", 2, 5, "1"}, ErrReadUnknown},
	} {
		if err := c.r.Check(history(t)); !errors.Is(err, c.want) || (c.want == nil) != (err == nil) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestHistoryIsInOrder(t *testing.T) {
	if _, err := NewHistory([]Change{{Revision: 2, Key: "a"}, {Revision: 2, Key: "b"}}); err == nil {
		t.Error("two changes of one revision")
	}
}
