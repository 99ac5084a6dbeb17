// Package boltcheck looks whether a bolt database can be read before anybody relies on it. The programs that keep
// their state in one (etcd, containerd) read it from goroutines of their own, and bolt answers to a damaged page with a panic, or
// with a fault when the file is shorter than its pages: either would end the process without a word about the
// file.
package boltcheck

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"time"

	bolt "go.etcd.io/bbolt"
)

// ErrDamaged says that the file cannot be read as a database.
var ErrDamaged = errors.New("the database is damaged")

// openTimeout bounds the waiting for a user of the file who has it open for writing.
const openTimeout = 5 * time.Second

// File reads every page of a database. A file that is missing or empty is none yet, and no error. Values are not looked at. It takes
// about as long as bolt's own opening, and reads no more.
func File(path string) error {
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && st.Mode().IsRegular() && st.Size() == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return fmt.Errorf("%w: %s is not a file", ErrDamaged, path)
	}
	db, err := bolt.Open(path, 0, &bolt.Options{ReadOnly: true, Timeout: openTimeout})
	if errors.Is(err, bolt.ErrTimeout) {
		return fmt.Errorf("%s is in use by another process", path)
	}
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrDamaged, path, err)
	}
	defer db.Close() // a reader leaves nothing to fail
	if err := read(db, st.Size()); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrDamaged, path, err)
	}
	return nil
}

// read turns bolt's panics, and faults of its memory map, into errors.
func read(db *bolt.DB, size int64) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	return db.View(func(tx *bolt.Tx) error {
		if want := tx.Size(); size < want {
			return fmt.Errorf("it ends at byte %d of %d: it was cut off", size, want)
		}
		return tx.ForEach(func(_ []byte, b *bolt.Bucket) error { return walk(b) })
	})
}

func walk(b *bolt.Bucket) error {
	return b.ForEach(func(k, v []byte) error {
		if v != nil {
			return nil
		}
		return walk(b.Bucket(k))
	})
}
