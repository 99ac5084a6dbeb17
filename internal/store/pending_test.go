package store

import "testing"

// TestWritesBeforeTheFeedBeginsAreForgotten: the feed never shows them, so nothing else would take them from memory.
func TestWritesBeforeTheFeedBeginsAreForgotten(t *testing.T) {
	s := newStore(t)
	c := configMaps(t, s)
	fence := create(t, c, configMap("a", "x", "1"))
	if _, err := c.List(t.Context(), ListOptions{}); err != nil {
		t.Fatal(err)
	}
	begun := s.feed.from.Load()
	waiting := func() int {
		c.pending.mu.Lock()
		defer c.pending.mu.Unlock()
		return len(c.pending.byKey)
	}
	key := fence.key
	if n := waiting(); n != 0 {
		t.Fatalf("%d writes are pending that the feed has shown", n)
	}
	late := c.pending.begin(key, sealed{}, fence.Object())
	c.pending.done(c, key, late, begun, 0)
	if n := waiting(); n != 0 {
		t.Errorf("%d writes are pending, told after the feed began behind them", n)
	}
	early := c.pending.begin(key, sealed{}, fence.Object())
	c.pending.done(c, key, early, begun+100, 0)
	unanswered := c.pending.begin(key, sealed{}, fence.Object())
	if n := waiting(); n != 1 {
		t.Fatalf("%d keys have pending writes", n)
	}
	c.pending.settle(begun + 100)
	if left := c.pending.byKey[key]; len(left) != 1 || left[0] != unanswered {
		t.Errorf("%v are pending", left)
	}
}
