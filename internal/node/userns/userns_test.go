package userns

import (
	"os"
	"path/filepath"
	"testing"

	"k8s.io/apimachinery/pkg/types"
)

func TestRanges(t *testing.T) {
	dir := t.TempDir()
	a, err := New(dir, 2)
	if err != nil {
		t.Fatal(err)
	}
	first := func(a *Allocator, uid string) uint32 {
		t.Helper()
		u, err := a.Get(types.UID("uid-" + uid))
		if err != nil {
			t.Fatal(err)
		}
		return u.Uids[0].HostId
	}
	one, two := first(a, "1"), first(a, "2")
	if one != 65536 || two != 131072 || first(a, "1") != one {
		t.Errorf("ranges %d %d", one, two)
	}
	if _, err := a.Get("third"); err == nil {
		t.Error("a third of two ranges was given")
	}
	b, err := New(dir, 2)
	if err != nil || first(b, "2") != two {
		t.Errorf("after a restart: %v", err)
	}
	b.Release("uid-1")
	if first(b, "3") != one {
		t.Error("a released range was not given again")
	}
	if err := os.WriteFile(filepath.Join(dir, "uid-2", fileName), []byte("?"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(dir, 2); err == nil {
		t.Error("a damaged file was accepted: its range could be given twice")
	}
}
