package server

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
)

// told remembers each write.
type told struct {
	net.Conn
	writes [][]byte
	err    error
}

func (c *told) Write(p []byte) (int, error) {
	c.writes = append(c.writes, bytes.Clone(p))
	return len(p), c.err
}

func TestHeldConnWritesOnce(t *testing.T) {
	below := &told{}
	c := &heldConn{Conn: below}
	write := func(texts ...string) error {
		for _, s := range texts {
			if n, err := c.Write([]byte(s)); n != len(s) || err != nil {
				t.Fatalf("writing %q: %d, %v", s, n, err)
			}
		}
		return nil
	}
	want := func(all ...string) {
		t.Helper()
		if len(below.writes) != len(all) {
			t.Fatalf("%d writes %q, want %q", len(below.writes), below.writes, all)
		}
		for i, s := range all {
			if string(below.writes[i]) != s {
				t.Errorf("write %d is %q, want %q", i, below.writes[i], s)
			}
		}
		below.writes = nil
	}
	_ = write("at ", "once")
	want("at ", "once")
	if err := c.together(func() error { return write("a", "b", "c") }, func() { _ = write("d") }); err != nil {
		t.Error(err)
	}
	want("abcd")
	if err := c.together(func() error { return write("nothing", " left") }, func() {}); err != nil {
		t.Error(err)
	}
	want("nothing left")
	if err := c.together(func() error { return nil }, func() {}); err != nil {
		t.Error(err)
	}
	want()
	failed := errors.New("no such event")
	if err := c.together(func() error { _ = write("half"); return failed }, func() { _ = write("!") }); err != failed {
		t.Errorf("the error is %v, want %v", err, failed)
	}
	want("half!")
	_ = write("at once again")
	want("at once again")
}

func TestHeldConnKeepsLittle(t *testing.T) {
	below := &told{}
	c := &heldConn{Conn: below}
	part := bytes.Repeat([]byte("x"), 16<<10)
	err := c.together(func() error {
		for range 10 {
			if _, err := c.Write(part); err != nil {
				return err
			}
		}
		return nil
	}, func() {})
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, w := range below.writes {
		total += len(w)
		if len(w) > keepUpTo+len(part) {
			t.Errorf("%d bytes were kept, want at most %d and a record", len(w), keepUpTo)
		}
	}
	if total != 10*len(part) || len(below.writes) != 3 {
		t.Errorf("%d bytes in %d writes, want all of %d in 3", total, len(below.writes), 10*len(part))
	}
}

func TestHeldConnTellsFailure(t *testing.T) {
	c := &heldConn{Conn: &told{err: net.ErrClosed}}
	err := c.together(func() error { _, err := c.Write([]byte("x")); return err }, func() {})
	if err != errClientGone {
		t.Errorf("the error is %v, want %v", err, errClientGone)
	}
	if _, err := c.Write([]byte("y")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the next write gives %v, want %v", err, net.ErrClosed)
	}
}

func TestBulkGoesOutInFewWrites(t *testing.T) {
	below := &told{}
	c := &heldConn{Conn: below}
	c.inBulk(func() {
		for range 9 {
			if _, err := c.Write(bytes.Repeat([]byte("x"), 16<<10)); err != nil {
				t.Error(err)
			}
		}
	})
	total := 0
	for _, w := range below.writes {
		total += len(w)
	}
	if total != 9*16<<10 || len(below.writes) != 3 {
		t.Errorf("%d bytes in %d writes, want %d in 3", total, len(below.writes), 9*16<<10)
	}
	below.writes = nil
	if _, err := c.Write([]byte("at once again")); err != nil || len(below.writes) != 1 {
		t.Errorf("after it %q was written (%v), want all at once", below.writes, err)
	}
	called := false
	(*heldConn)(nil).inBulk(func() { called = true })
	if !called {
		t.Error("without a connection nothing was written")
	}
}

// A client that gives leave to send more only when it has read what was sent must get it while the rest is written.
func TestBulkIsNotKeptForLong(t *testing.T) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	c := &heldConn{Conn: ours}
	read := make(chan error, 1)
	go func() {
		_, err := io.ReadFull(theirs, make([]byte, 5))
		read <- err
	}()
	c.inBulk(func() {
		if _, err := c.Write([]byte("hello")); err != nil {
			t.Error(err)
		}
		if err := <-read; err != nil {
			t.Error(err)
		}
	})
}

func TestBulkTellsFailure(t *testing.T) {
	c := &heldConn{Conn: &told{err: net.ErrClosed}}
	c.inBulk(func() { _, _ = c.Write([]byte("x")) })
	if _, err := c.Write([]byte("y")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the next write gives %v, want %v", err, net.ErrClosed)
	}
}
