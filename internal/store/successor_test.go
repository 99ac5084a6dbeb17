package store

import (
	"testing"

	"hyperkube/internal/object"
)

// TestRequestsOutliveTheirRow goes on, with a collection in hand that was replaced, in the one that took its place.
func TestRequestsOutliveTheirRow(t *testing.T) {
	s := newStore(t)
	old := configMaps(t, s)
	create(t, old, configMap("a", "x", "1"))
	if _, err := old.Get(testContext(t), object.Key{Namespace: "a", Name: "x"}, ""); err != nil {
		t.Fatal(err)
	}
	row := *old.kind
	row.Epoch++
	s.Collection(&row)
	if old.successor() == nil {
		t.Fatal("the collection was not replaced")
	}
	if e, err := old.Get(testContext(t), object.Key{Namespace: "a", Name: "x"}, ""); err != nil || e.Object().GetName() != "x" {
		t.Errorf("get: %v", err)
	}
	if p, err := old.List(testContext(t), ListOptions{}); err != nil || len(p.Entries) != 1 {
		t.Errorf("list: %v", err)
	}
	set(t, old, "a", "x", "2")
	w, err := old.Watch(testContext(t), WatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	if ev, err := w.Next(testContext(t)); err != nil || len(ev) != 1 || ev[0].Entry.Object().GetLabels()["app"] != "2" {
		t.Errorf("watch: %v", err)
	}
	remove(t, old, "a", "x")
	// In another version of storage the request would take one version for the other.
	other := row
	other.Epoch++
	other.Versions = append([]object.Version{}, row.Versions...)
	other.Versions[0].Version = "v2"
	s.Collection(&other)
	if old.successor() != nil {
		t.Error("a request goes on where objects are of another version")
	}
}
