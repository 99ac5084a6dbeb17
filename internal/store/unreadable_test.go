package store

import (
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"hyperkube/internal/object"
)

// TestDeleteUnreadable removes what no decoder can read, and nothing else.
func TestDeleteUnreadable(t *testing.T) {
	c := configMaps(t, newStore(t))
	set(t, c, "a", "good", "1")
	good, bad := object.Key{Namespace: "a", Name: "good"}, object.Key{Namespace: "a", Name: "bad"}
	ctx := testContext(t)
	if err := c.DeleteUnreadable(ctx, bad, false); !apierrors.IsNotFound(err) {
		t.Fatalf("of nothing: %v", err)
	}
	if err := c.DeleteUnreadable(ctx, good, false); !apierrors.IsConflict(err) {
		t.Fatalf("of what can be read: %v", err)
	}
	if _, err := shared.member.Client().Put(ctx, c.etcdKey(bad), "garbage"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Delete(ctx, bad, nil); !apierrors.IsInternalError(err) {
		t.Fatalf("an ordinary deletion: %v", err)
	}
	if err := c.DeleteUnreadable(ctx, bad, true); err != nil {
		t.Fatalf("dry run: %v", err)
	}
	if _, err := c.Get(ctx, bad, ""); !apierrors.IsInternalError(err) {
		t.Fatalf("after a dry run: %v", err)
	}
	if err := c.DeleteUnreadable(ctx, bad, false); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Get(ctx, bad, ""); !apierrors.IsNotFound(err) {
		t.Fatalf("after the deletion: %v", err)
	}
	// Lists and watches go on, and the name is free.
	if p, err := c.List(ctx, ListOptions{}); err != nil || len(p.Entries) != 1 {
		t.Fatalf("list: %v, %v", p, err)
	}
	w := startWatch(t, c, WatchOptions{Namespace: "a"})
	take(t, w, 1)
	set(t, c, "a", "bad", "2")
	if evs := take(t, w, 1); evs[0].Entry.Object().GetName() != "bad" {
		t.Fatalf("got %v", evs[0])
	}
}
