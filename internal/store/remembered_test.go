package store

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/labels"
)

// TestRememberedListsAreWhatIsThere compares lists, while objects come, change and go, with what a look at every entry gives.
func TestRememberedListsAreWhatIsThere(t *testing.T) {
	c := configMaps(t, newStore(t, func(cfg *Config) { cfg.WindowEvents = 150 }))
	for n := range rememberFrom {
		set(t, c, "filler", fmt.Sprintf("f%03d", n), "x")
	}
	selectors := []ListOptions{{}, {Namespace: "a"}, {Namespace: "b"}, {Namespace: "none"}}
	for _, text := range []string{"app=v1", "app in (v2,v3)", "app!=v1", "!app", "app=v1,app!=v2"} {
		l, err := labels.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		selectors = append(selectors, ListOptions{Label: l}, ListOptions{Namespace: "a", Label: l})
	}
	check := func(step int) {
		t.Helper()
		for _, o := range selectors {
			got, err := c.List(testContext(t), o)
			if err != nil {
				t.Fatal(err)
			}
			sel := newSelector(c.kind, o.Namespace, o.Name, o.Label, o.Field)
			c.mu.Lock()
			s := c.snapshot()
			c.mu.Unlock()
			want, err := s.page(c, "", 0, &sel)
			if err != nil {
				t.Fatal(err)
			}
			if got.Revision != want.Revision || !slices.Equal(got.Entries, want.Entries) {
				t.Fatalf("step %d, %q: %d entries at %d, want %d at %d", step, sel.id(), len(got.Entries), got.Revision, len(want.Entries), want.Revision)
			}
		}
	}
	there := map[string]bool{}
	random := rand.New(rand.NewPCG(1, 2))
	for step := range 600 {
		ns, name := string(rune('a'+random.IntN(2))), fmt.Sprint("c", random.IntN(12))
		if key := ns + name; there[key] && random.IntN(3) == 0 {
			remove(t, c, ns, name)
			delete(there, key)
		} else {
			set(t, c, ns, name, fmt.Sprint("v", random.IntN(4)))
			there[key] = true
		}
		if step == 300 {
			c.reload() // as after events that were lost
		}
		if random.IntN(40) != 0 { // now and then so much happens that it is not worth while to follow
			check(step)
		}
	}
	if n := len(c.remembered.lists); n != min(rememberLists, len(selectors)) {
		t.Errorf("%d lists are remembered, want %d", n, min(rememberLists, len(selectors)))
	}
	c.remembered.forget()
	check(-1)
}

func TestRememberedListIsNotChangedByLaterOnes(t *testing.T) {
	c := configMaps(t, newStore(t))
	for n := range rememberFrom {
		set(t, c, "a", fmt.Sprintf("c%03d", n), "x")
	}
	list := func() *Page {
		t.Helper()
		p, err := c.List(testContext(t), ListOptions{Namespace: "a"})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	first := list()
	if again := list(); &again.Entries[0] != &first.Entries[0] {
		t.Error("a list without a change since was made anew")
	}
	before := slices.Clone(first.Entries)
	remove(t, c, "a", "c005")
	set(t, c, "a", "c010", "y")
	set(t, c, "a", "zzz", "z")
	if p := list(); len(p.Entries) != rememberFrom {
		t.Errorf("%d entries, want %d", len(p.Entries), rememberFrom)
	}
	if !slices.Equal(first.Entries, before) {
		t.Error("a page that was given away has changed")
	}
}
