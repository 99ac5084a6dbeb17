package boltcheck

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// database makes a file with some pages and a nested bucket.
func database(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "db")
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucket([]byte("a"))
		if err != nil {
			return err
		}
		if b, err = b.CreateBucket([]byte("b")); err != nil {
			return err
		}
		for i := range 1000 {
			if err := b.Put(fmt.Appendf(nil, "%04d", i), make([]byte, 500)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestWholeFilesPass(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{database(t), empty, filepath.Join(t.TempDir(), "missing")} {
		if err := File(path); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestDamageIsAnError(t *testing.T) {
	garbage := []byte(strings.Repeat("garbage!", 512))
	overwrite := func(page int) func(*os.File) error {
		return func(f *os.File) error { _, err := f.WriteAt(garbage, int64(page*4096)); return err }
	}
	cut := func(size int64) func(*os.File) error {
		return func(f *os.File) error { return f.Truncate(size) }
	}
	damage := map[string]func(*os.File) error{"cut after a byte": cut(1), "cut after a page": cut(4096), "cut later": cut(50_000)}
	for page := range 2 {
		damage[fmt.Sprint("both heads and page ", page)] = func(f *os.File) error {
			return errors.Join(overwrite(0)(f), overwrite(1)(f), overwrite(page+2)(f))
		}
	}
	for page := 4; page < 40; page += 3 {
		damage[fmt.Sprint("page ", page)] = overwrite(page)
	}
	for name, do := range damage {
		t.Run(name, func(t *testing.T) {
			path := database(t)
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if err := do(f); err != nil {
				t.Fatal(err)
			}
			if err := File(path); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), path) {
				t.Errorf("File: %v", err)
			}
		})
	}
}
