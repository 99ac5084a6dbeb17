package nodettl

import "testing"

// TestMove follows a cluster that grows and shrinks: it comes down later than it went up.
func TestMove(t *testing.T) {
	c := &controller{}
	for _, s := range []struct {
		nodes   int
		moved   bool
		seconds string
	}{
		{0, false, "0"}, {100, false, "0"}, {101, true, "15"}, {95, false, "15"}, {89, true, "0"}, {3000, true, "300"}, {1900, false, "300"},
		{1799, true, "60"}, {899, true, "30"}, {449, true, "15"}, {10, true, "0"},
	} {
		if moved := c.move(s.nodes); moved != s.moved || c.seconds() != s.seconds {
			t.Errorf("%d nodes: moved %v to %s s, want %v, %s s", s.nodes, moved, c.seconds(), s.moved, s.seconds)
		}
	}
}
