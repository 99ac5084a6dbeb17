package store

import (
	"errors"
	"fmt"
	"runtime"
	"testing"
)

func TestItemsAreSharedWhileAnyoneHoldsThem(t *testing.T) {
	c := configMaps(t, newStore(t))
	for n := range rememberFrom {
		set(t, c, "a", fmt.Sprintf("c%03d", n), "x")
	}
	json, proto := Format{As: "json"}, Format{As: "protobuf"}
	items := func(f Format) (got *Items, made bool) {
		t.Helper()
		p, err := c.List(testContext(t), ListOptions{Namespace: "a"})
		if err != nil {
			t.Fatal(err)
		}
		got, err = p.Items(f, func() (*Items, error) {
			made = true
			i := &Items{}
			for _, e := range p.Entries {
				i.Add([]byte(e.key))
			}
			return i, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Parts) != len(p.Entries) {
			t.Fatalf("%d parts for %d entries", len(got.Parts), len(p.Entries))
		}
		return got, made
	}
	first, made := items(json)
	if !made {
		t.Error("the first were made by nobody")
	}
	if again, made := items(json); made || again != first {
		t.Error("the same list was made again while it was held")
	}
	if _, made := items(proto); !made {
		t.Error("a list in one format was given as another")
	}
	set(t, c, "b", "elsewhere", "x")
	if again, made := items(json); made || again != first {
		t.Error("a list was made again though what changed is not in it")
	}
	set(t, c, "a", "new", "x")
	second, made := items(json)
	if !made || len(second.Parts) != len(first.Parts)+1 {
		t.Error("a list that changed was not made again")
	}
	runtime.KeepAlive(first)
	runtime.KeepAlive(second)
	second = nil
	runtime.GC()
	if _, made := items(json); !made {
		t.Error("a list was kept that nobody held")
	}
}

func TestItemsThatFailAreMadeAgain(t *testing.T) {
	p := &Page{shared: &sharedItems{}}
	failed := errors.New("no such version")
	if _, err := p.Items(Format{}, func() (*Items, error) { return nil, failed }); err != failed {
		t.Errorf("%v, want %v", err, failed)
	}
	want := &Items{}
	if got, err := p.Items(Format{}, func() (*Items, error) { return want, nil }); got != want || err != nil {
		t.Errorf("%v, %v", got, err)
	}
}
