package server

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
)

// heldConn is a connection below TLS that can keep what is written to it for a while, so that the many records that net/http makes of
// one batch of events go out in one call: on a connection it is the calls that cost.
type heldConn struct {
	net.Conn
	mu   sync.Mutex
	hold bool
	kept *[]byte // nil: nothing
}

// keepUpTo is how many bytes are kept before they are written in any case.
const keepUpTo = 64 << 10

var keeps = sync.Pool{New: func() any { b := make([]byte, 0, keepUpTo+18<<10); return &b }}

// Write keeps p, or writes it with what was kept.
func (c *heldConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kept == nil {
		if !c.hold {
			return c.Conn.Write(p)
		}
		c.kept = keeps.Get().(*[]byte)
	}
	*c.kept = append(*c.kept, p...)
	if c.hold && len(*c.kept) < keepUpTo {
		return len(p), nil
	}
	return len(p), c.writeKept()
}

func (c *heldConn) writeKept() error {
	_, err := c.Conn.Write(*c.kept)
	*c.kept = (*c.kept)[:0]
	keeps.Put(c.kept)
	c.kept = nil
	return err
}

func (c *heldConn) setHold(on bool) {
	c.mu.Lock()
	c.hold = on
	c.mu.Unlock()
}

// together calls write, which writes something, and then flush, and hands all of it to the kernel with the last that flush writes. TLS does that
// write, and not we, so that closing the connection interrupts it.
func (c *heldConn) together(write func() error, flush func()) error {
	c.setHold(true)
	err := write()
	c.setHold(false)
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
	c, _ := r.Context().Value(heldKey{}).(*heldConn)
	return c
}
