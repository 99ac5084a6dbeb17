package server

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
)

// framedConn is a connection between HTTP/2 and TLS. The library of HTTP/2 hands each frame to its connection as soon as no other is there, so that
// the head of an answer and its body, a moment later, would cost a record, a call to the kernel, and a reader woken up each. framedConn keeps what
// need not go out alone until the next that is written: the heads of answers whose bodies are at hand, and small leave for the client to send more.
type framedConn struct {
	*tls.Conn
	out    io.Writer    // Conn
	bodies atomic.Int32 // of answers that come right behind their heads
	mu     sync.Mutex
	frames frames
	kept   []byte      // whole frames, which go before the next
	leave  uint32      // how many bytes the frames kept allow the client to send
	late   *time.Timer // while a head is kept; nil before the first
	err    error       // why something that was kept could not be written
}

// keepLeave is for how many bytes the leave to send more may be kept. A connection's window is far larger (maxUpload), so that no client waits for it.
const keepLeave = 1 << 20

// keepHead is how long the head of an answer is kept at most: its body waits for the client's leave then, or its request has been given up.
const keepHead = 20 * time.Millisecond

// serveFramed has the connections of HTTP/2 served by way of a framedConn.
func serveFramed(srv *http.Server, h2 *http2.Server) {
	srv.TLSNextProto[http2.NextProtoTLS] = func(hs *http.Server, c *tls.Conn, h http.Handler) {
		opts := &http2.ServeConnOpts{BaseConfig: hs, Handler: h}
		if b, ok := h.(interface{ BaseContext() context.Context }); ok {
			opts.Context = b.BaseContext() // how net/http passes on the context of a connection
		}
		f := &framedConn{Conn: c, out: c}
		if held, ok := c.NetConn().(*heldConn); ok {
			held.framed = f // nobody asks for it yet
		}
		h2.ServeConn(f, opts)
	}
}

// bodyFollows says that the next head is followed by its body without waiting for anything.
func (c *framedConn) bodyFollows() {
	if c != nil {
		c.bodies.Add(1)
	}
}

// Write writes p with what was kept, or keeps it.
func (c *framedConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return 0, c.err
	}
	s := c.frames.scan(p)
	if s.whole && s.only == http2.FrameWindowUpdate && c.leave+s.leave <= keepLeave {
		c.leave += s.leave
		c.kept = append(c.kept, p...)
		return len(p), nil
	}
	if n := c.bodies.Load(); s.heads > 0 && n > 0 {
		c.bodies.Add(-min(n, s.heads))
		if s.whole && s.headLast {
			c.kept = append(c.kept, p...)
			c.lateIn(keepHead)
			return len(p), nil
		}
	}
	if len(c.kept) == 0 {
		return c.out.Write(p)
	}
	c.kept = append(c.kept, p...)
	if err := c.writeKept(); err != nil {
		return 0, err
	}
	return len(p), nil
}

// lateIn has what is kept written after a while if nothing else is.
func (c *framedConn) lateIn(d time.Duration) {
	if c.late == nil {
		c.late = time.AfterFunc(d, func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			if len(c.kept) > 0 && c.err == nil {
				_ = c.writeKept() // the next write tells of it
			}
		})
		return
	}
	c.late.Reset(d)
}

func (c *framedConn) writeKept() error {
	if c.late != nil {
		c.late.Stop()
	}
	_, c.err = c.out.Write(c.kept)
	c.kept, c.leave = c.kept[:0], 0
	if cap(c.kept) > keepUpTo {
		c.kept = nil
	}
	return c.err
}

// frames follows the frames of HTTP/2 (RFC 9113, section 4.1) that are written in pieces of any size.
type frames struct {
	head [9]byte
	have int    // bytes of head
	left uint32 // bytes of the frame's payload that are to come
}

// scanned is what a piece consists of.
type scanned struct {
	whole    bool            // it begins and ends with a frame
	only     http2.FrameType // the type of its frames when whole and all are of one kind and concern the connection as a whole; else frameNone
	leave    uint32          // sum of the increments of WINDOW_UPDATE, when only says so
	heads    int32           // HEADERS
	headLast bool            // the last frame is HEADERS that its stream does not end with
}

// frameNone is no type of frame.
const frameNone = http2.FrameType(0xff)

func (f *frames) scan(p []byte) scanned {
	s := scanned{whole: f.have == 0 && f.left == 0, only: frameNone}
	first := true
	for len(p) > 0 {
		if f.left > 0 {
			n := min(f.left, uint32(len(p)))
			f.left -= n
			p = p[n:]
			continue
		}
		n := copy(f.head[f.have:], p)
		f.have += n
		p = p[n:]
		if f.have < len(f.head) {
			break
		}
		f.have = 0
		f.left = uint32(f.head[0])<<16 | uint32(f.head[1])<<8 | uint32(f.head[2])
		t, flags := http2.FrameType(f.head[3]), http2.Flags(f.head[4])
		s.headLast = t == http2.FrameHeaders && flags.Has(http2.FlagHeadersEndHeaders) && !flags.Has(http2.FlagHeadersEndStream)
		if t == http2.FrameHeaders {
			s.heads++
		}
		switch connection := binary.BigEndian.Uint32(f.head[5:])&(1<<31-1) == 0; {
		case !connection || !first && s.only != t:
			s.only = frameNone
		case first:
			s.only = t
		}
		if s.only == http2.FrameWindowUpdate && len(p) >= 4 {
			s.leave += binary.BigEndian.Uint32(p) & (1<<31 - 1)
		}
		first = false
	}
	s.whole = s.whole && f.have == 0 && f.left == 0
	return s
}
