package etcd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"hyperkube/internal/lifecycle"
	"hyperkube/internal/testenv"
)

// smallDisk is a file system of a size, which resize changes.
func smallDisk(t *testing.T, size string) (dir string, resize func(string)) {
	t.Helper()
	testenv.NeedRoot(t)
	dir = t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir, func(size string) {
		t.Helper()
		if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size="+size); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFullDiskRefusesWritesAndNothingElse fills a disk by writing: the member must refuse in time, go on reading and deleting, and
// accept writes when there is room again.
func TestFullDiskRefusesWritesAndNothingElse(t *testing.T) {
	dir, resize := smallDisk(t, "350m")
	m := begin(t, Config{Dir: filepath.Join(dir, "etcd")})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	value := strings.Repeat("x", 1<<20)
	n := 0
	for ; ; n++ {
		_, err := m.Client().Put(ctx, fmt.Sprint(n), value)
		if errors.Is(err, ErrNoRoom) {
			t.Log(err)
			break
		}
		if err != nil {
			t.Fatalf("write %d: %v", n, err)
		}
	}
	if n < 10 {
		t.Errorf("it refused after %d writes already", n)
	}
	txn := func(ops ...clientv3.Op) error {
		_, err := m.Client().Txn(ctx).Then(ops...).Commit()
		return err
	}
	if err := txn(clientv3.OpPut("a", "b")); !errors.Is(err, ErrNoRoom) {
		t.Errorf("a transaction that stores: %v", err)
	}
	never := clientv3.Compare(clientv3.CreateRevision("a"), "<", 0)
	if _, err := m.Client().Txn(ctx).If(never).Then(clientv3.OpPut("a", "b")).Commit(); !errors.Is(err, ErrNoRoom) {
		t.Errorf("a transaction that would never store: %v", err)
	}
	if err := txn(clientv3.OpDelete("0")); err != nil {
		t.Errorf("a transaction that deletes: %v", err)
	}
	if r, err := m.Client().Get(ctx, fmt.Sprint(n-1)); err != nil || len(r.Kvs) != 1 {
		t.Errorf("a read: %v, %v", r, err)
	}
	resize("1g")
	if err := txn(clientv3.OpPut("a", "b")); err != nil {
		t.Errorf("after room was made: %v", err)
	}
	if err := m.Err(); err != nil {
		t.Errorf("the member failed: %v", err)
	}
}

// TestADiskThatOthersFilled takes the last byte while the database still has something to write: that ends the member, the process
// lives, and a new one is called for when there is room, not before.
func TestADiskThatOthersFilled(t *testing.T) {
	dir, resize := smallDisk(t, "400m")
	m := begin(t, Config{Dir: filepath.Join(dir, "etcd")})
	for i := range 8 {
		if _, err := m.Client().Put(t.Context(), fmt.Sprint(i), strings.Repeat("x", 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Create(filepath.Join(dir, "others"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 1<<20)
	for err == nil {
		_, err = f.Write(block)
	}
	commitApart(m.srv.Server)()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	select {
	case <-m.Failed():
	case <-ctx.Done():
		t.Fatal("the member does not say that it failed")
	}
	if err := m.Err(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("it failed with %v", err)
	}
	if err := m.Health(ctx); err == nil {
		t.Error("it is said to be healthy")
	}
	// What its failure left locked keeps nobody waiting.
	if _, err := m.Client().Get(ctx, "0"); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a read: %v", err)
	}
	if _, err := m.Client().Put(ctx, "0", "x"); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a write: %v", err)
	}
	if _, err := m.Client().Delete(ctx, "0"); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a deletion: %v", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- m.Ended(ctx) }()
	resize("1g")
	if err := <-ended; !errors.Is(err, lifecycle.ErrAgain) {
		t.Errorf("it ended with %v", err)
	}
}

// TestNoMemberBeginsWithoutRoom has a disk on which a member could be made, but could store nothing.
func TestNoMemberBeginsWithoutRoom(t *testing.T) {
	dir, resize := smallDisk(t, "200m")
	at := filepath.Join(dir, "etcd")
	m, err := Start(t.Context(), Config{Dir: at})
	if err == nil {
		m.Close()
	}
	if !errors.Is(err, ErrNoRoom) || !strings.Contains(err.Error(), "200 MiB are free in "+at+", and a new datastore needs 272") {
		t.Fatal(err)
	}
	resize("400m")
	begin(t, Config{Dir: at}).Close()
	resize("150m") // one that has begun goes on, to be read
	begin(t, Config{Dir: at}).Close()
}
