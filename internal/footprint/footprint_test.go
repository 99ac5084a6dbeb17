package footprint

import (
	"strings"
	"testing"
	"time"
)

func TestFileMapping(t *testing.T) {
	for line, want := range map[string]bool{
		"00400000-030f2000 r-xp 00000000 fe:00 9978172                            /usr/bin/hyperkube": true,
		"030f2000-06bb8000 r--p 02cf2000 fe:00 9978172                            /usr/bin/hyperkube": true,
		"06bb8000-06d5c000 rw-p 067b8000 fe:00 9978172                            /usr/bin/hyperkube": false,
		"030f2000-06bb8000 r--s 02cf2000 fe:00 9978172                            /usr/bin/hyperkube": false,
		"00400000-030f2000 r-xp 00000000 fe:00 9978172                            /usr/bin/other":     false,
		"7ffd6b5f0000-7ffd6b611000 rw-p 00000000 00:00 0                          [stack]":            false,
		"c000000000-c004000000 rw-p 00000000 00:00 0 ":                                                false,
		"": false,
	} {
		if from, to, ok := fileMapping(line, "/usr/bin/hyperkube"); ok != want || ok && from >= to {
			t.Errorf("%q: %x-%x %v, want %v", line, from, to, ok, want)
		}
	}
}

// table is read before and after: it is in the part of the file that is unmapped.
var table = [...]string{"what", "is", "in", "the", "file", "stays"}

func TestTrim(t *testing.T) {
	before := strings.Join(table[:], " ")
	if err := Trim(); err != nil {
		t.Fatal(err)
	}
	if after := strings.Join(table[:], " "); after != before || after != "what is in the file stays" {
		t.Errorf("%q became %q", before, after)
	}
}

func TestLook(t *testing.T) {
	var now time.Duration
	trims := 0
	k := keeper{busy: true}
	for i, c := range []struct {
		work   time.Duration
		spared int64
		want   int
	}{
		{time.Second, 0, 0},           // the start
		{10 * time.Millisecond, 0, 1}, // quiet after it
		{10 * time.Millisecond, 0, 1}, // nothing was done since, although giving back took time
		{5 * time.Second, 0, 1},
		{5 * time.Second, worth, 1}, // in vain while it is busy
		{0, 0, 2},
		{0, 0, 2},
		{0, worth / 2, 2}, // not worth while
		{0, worth / 2, 3}, // but together
		{0, 0, 3},
	} {
		now += c.work
		Spare(c.spared)
		err := k.look(func() (time.Duration, error) { return now, nil }, func() error {
			trims++
			now += 3 * time.Second
			return nil
		})
		if err != nil || trims != c.want {
			t.Errorf("step %d: %d times given back, want %d (%v)", i, trims, c.want, err)
		}
	}
}
