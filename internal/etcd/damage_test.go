package etcd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

// used is a data directory in which a member has worked.
func used(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "etcd")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	m, err := Start(ctx, Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for i := range 50 {
		if _, err := m.Client().Put(ctx, fmt.Sprint(i), string(make([]byte, 10_000))); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestDamageIsAnErrorAtTheStart damages files behind the member's back: the start must say so, in time, and the process must
// live, since its next test runs in it.
func TestDamageIsAnErrorAtTheStart(t *testing.T) {
	garbage := func(path string, at int64, n int) error {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(i*7 + 1)
		}
		_, err = f.WriteAt(b, at)
		return err
	}
	for name, damage := range map[string]func(db, wal string) error{
		"database cut off":     func(db, _ string) error { return os.Truncate(db, 100_000) },
		"database's middle":    func(db, _ string) error { return garbage(db, 3*4096, 250*4096) },
		"database's head":      func(db, _ string) error { return garbage(db, 0, 8192) },
		"log cut off":          func(_, wal string) error { return os.Truncate(wal, 20_000) },
		"log empty":            func(_, wal string) error { return os.Truncate(wal, 0) },
		"log gone":             func(_, wal string) error { return os.Remove(wal) },
		"log's middle":         func(_, wal string) error { return garbage(wal, 20_000, 5000) },
		"database a directory": func(db, _ string) error { return errors.Join(os.Remove(db), os.Mkdir(db, 0o700)) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := used(t)
			db := filepath.Join(dir, "member", "snap", "db")
			wals, err := filepath.Glob(filepath.Join(dir, "member", "wal", "*.wal"))
			if err != nil || len(wals) != 1 {
				t.Fatal(wals, err)
			}
			if err := damage(db, wals[0]); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			m, err := Start(ctx, Config{Dir: dir})
			if err == nil {
				m.Close()
				t.Fatal("it started")
			}
			if ctx.Err() != nil {
				t.Errorf("it hung: %v", err)
			}
			t.Log(err)
		})
	}
}

// TestAStartKilledAtItsBeginning leaves a database with nothing in it and no log: the next start makes both.
func TestAStartKilledAtItsBeginning(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "etcd")
	db := filepath.Join(dir, "member", "snap", "db")
	if err := os.MkdirAll(filepath.Dir(db), 0o700); err != nil {
		t.Fatal(err)
	}
	b, err := bolt.Open(db, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	m := begin(t, Config{Dir: dir})
	if _, err := m.Client().Put(t.Context(), "a", "b"); err != nil {
		t.Error(err)
	}
}

// TestALostDatabaseComesBackFromTheLog: nothing is lost while the log is whole.
func TestALostDatabaseComesBackFromTheLog(t *testing.T) {
	dir := used(t)
	if err := os.Remove(filepath.Join(dir, "member", "snap", "db")); err != nil {
		t.Fatal(err)
	}
	m := begin(t, Config{Dir: dir})
	r, err := m.Client().Get(t.Context(), "49")
	if err != nil || len(r.Kvs) != 1 {
		t.Fatalf("%v, %v", r, err)
	}
}

// TestWholeDataIsNotTakenForDamaged starts a member many times on its own data, after clean ends with and without a write.
func TestWholeDataIsNotTakenForDamaged(t *testing.T) {
	dir := used(t)
	for i := range 30 {
		m, err := Start(t.Context(), Config{Dir: dir})
		if err != nil {
			t.Fatalf("start %d: %v", i, err)
		}
		if i%2 == 0 {
			if _, err := m.Client().Put(t.Context(), "a", "b"); err != nil {
				t.Error(err)
			}
		}
		m.Close()
	}
}
