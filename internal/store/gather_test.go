package store

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
)

func TestListsAtTheSameTimeEncodeOnce(t *testing.T) {
	c := configMaps(t, newStore(t))
	const entries, lists = 3*gatherChunk + 5, 6
	for n := range entries {
		set(t, c, "a", fmt.Sprint("c", n), fmt.Sprint(n))
	}
	p, err := c.List(testContext(t), ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	f := Format{c.kind.Hub().GroupVersion, "test"}
	var made atomic.Int64
	encode := func(e *Entry) ([]byte, error) {
		return e.Encoded(f, func() ([]byte, error) { made.Add(1); return []byte(e.key), nil })
	}
	var wg sync.WaitGroup
	for range lists {
		wg.Go(func() {
			all, err := p.gather(f, encode)
			if err != nil || len(all) != entries {
				t.Errorf("%d encodings: %v", len(all), err)
				return
			}
			for i, data := range all {
				if string(data) != p.Entries[i].key {
					t.Errorf("encoding %d is %q, want %q", i, data, p.Entries[i].key)
				}
			}
		})
	}
	wg.Wait()
	if n := made.Load(); n != entries {
		t.Errorf("%d encodings were made for %d entries", n, entries)
	}
	failed := errors.New("cannot be encoded")
	if _, err := p.gather(Format{As: "never"}, func(*Entry) ([]byte, error) { return nil, failed }); err != failed {
		t.Errorf("the error is %v, want %v", err, failed)
	}
	if _, err := p.gather(f, encode); err != nil { // nothing is left locked
		t.Error(err)
	}
}
