package server

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"time"
)

// heldConn is a connection below TLS that can keep what is written to it for a while, so that the many records that net/http makes of
// one batch of events, or of a long list, go out in few calls: on a connection it is the calls that cost.
type heldConn struct {
	net.Conn
	framed *framedConn // above TLS; nil with HTTP/1.1
	mu     sync.Mutex
	holds  int         // who wants what is written to be kept
	kept   *[]byte     // nil: nothing
	late   *time.Timer // while bulk is kept; nil before the first
	err    error       // why something that was kept could not be written
}

const (
	// keepUpTo is how many bytes are kept before they are written in any case.
	keepUpTo = 64 << 10
	// keepFor is how long bulk is kept while no more comes. HTTP/2 may have to wait for the client's leave to send more, which that gives only when it has
	// read what was sent.
	keepFor = time.Millisecond
)

var keeps = sync.Pool{New: func() any { b := make([]byte, 0, keepUpTo+18<<10); return &b }}

// Write keeps p, or writes it with what was kept.
func (c *heldConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return 0, c.err
	}
	if c.kept == nil {
		if c.holds == 0 {
			return c.Conn.Write(p)
		}
		c.kept = keeps.Get().(*[]byte)
		if c.late != nil {
			c.late.Reset(keepFor)
		}
	}
	*c.kept = append(*c.kept, p...)
	if c.holds > 0 && len(*c.kept) < keepUpTo {
		return len(p), nil
	}
	return len(p), c.writeKept()
}

func (c *heldConn) writeKept() error {
	_, c.err = c.Conn.Write(*c.kept)
	*c.kept = (*c.kept)[:0]
	keeps.Put(c.kept)
	c.kept = nil
	return c.err
}

// hold begins (by 1) or ends (by -1) that what is written is kept.
func (c *heldConn) hold(by int) {
	c.mu.Lock()
	c.holds += by
	c.mu.Unlock()
}

// inBulk calls write, which writes much, and hands it to the kernel in few calls. Others may write to the connection meanwhile; what they write goes
// the same way. Without a connection it only calls write.
func (c *heldConn) inBulk(write func()) {
	if c == nil {
		write()
		return
	}
	c.mu.Lock()
	if c.late == nil {
		c.late = time.AfterFunc(time.Hour, c.release)
		c.late.Stop()
	}
	c.holds++
	c.mu.Unlock()
	defer func() {
		c.hold(-1)
		c.release()
	}()
	write()
}

// release writes what is kept; the next write tells of its failure.
func (c *heldConn) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kept != nil {
		_ = c.writeKept()
	}
	if c.late != nil {
		c.late.Stop()
	}
}

// together calls write, which writes something, and then flush, and hands all of it to the kernel with the last that flush writes. TLS does that
// write, and not we, so that closing the connection interrupts it.
func (c *heldConn) together(write func() error, flush func()) error {
	c.hold(1)
	err := write()
	c.hold(-1)
	flush()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kept == nil {
		return err
	}
	if c.writeKept() != nil { // flush had nothing to write
		return errClientGone
	}
	return err
}

// holding is a listener of such connections.
type holding struct{ net.Listener }

// Accept waits for a connection.
func (l holding) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &heldConn{Conn: c}, nil
}

type heldKey struct{}

// withHeld lets the handlers of a connection find what is below its TLS.
func withHeld(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(*tls.Conn); ok {
		if held, ok := t.NetConn().(*heldConn); ok {
			return context.WithValue(ctx, heldKey{}, held)
		}
	}
	return ctx
}

// heldOf is the connection of a request that has it for itself; nil with HTTP/2, which writes in its own time.
func heldOf(r *http.Request) *heldConn {
	if r.ProtoMajor != 1 {
		return nil
	}
	return connOf(r)
}

// connOf is the connection of a request; nil where it is not the server's own.
func connOf(r *http.Request) *heldConn {
	c, _ := r.Context().Value(heldKey{}).(*heldConn)
	return c
}

// framedOf is what is between HTTP/2 and the connection of a request; nil with HTTP/1.1.
func framedOf(r *http.Request) *framedConn {
	if c := connOf(r); c != nil && r.ProtoMajor == 2 {
		return c.framed
	}
	return nil
}
