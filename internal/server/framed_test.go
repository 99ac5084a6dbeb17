package server

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"testing"

	"golang.org/x/net/http2"
)

// framed is what a Framer makes of some frames.
func framed(t *testing.T, write ...func(*http2.Framer) error) []byte {
	t.Helper()
	var b bytes.Buffer
	f := http2.NewFramer(&b, nil)
	for _, w := range write {
		if err := w(f); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func headFrame(stream uint32, end bool) func(*http2.Framer) error {
	return func(f *http2.Framer) error {
		return f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: []byte("head"), EndHeaders: true, EndStream: end})
	}
}

func bodyFrame(stream uint32, text string) func(*http2.Framer) error {
	return func(f *http2.Framer) error { return f.WriteData(stream, true, []byte(text)) }
}

func leaveFrame(stream, bytes uint32) func(*http2.Framer) error {
	return func(f *http2.Framer) error { return f.WriteWindowUpdate(stream, bytes) }
}

func TestFramedConnKeepsWhatNeedNotGoAlone(t *testing.T) {
	for _, test := range []struct {
		name   string
		bodies int
		pieces [][]byte
		writes int
	}{
		{"head and body of one answer", 1, [][]byte{framed(t, headFrame(1, false)), framed(t, bodyFrame(1, "body"))}, 1},
		{"heads of two answers", 2, [][]byte{framed(t, headFrame(1, false)), framed(t, bodyFrame(1, "body"), headFrame(3, false)), framed(t, bodyFrame(3, "body"))}, 1},
		{"a body that is awaited", 0, [][]byte{framed(t, headFrame(1, false)), framed(t, bodyFrame(1, "event"))}, 2},
		{"an answer without body", 1, [][]byte{framed(t, headFrame(1, true)), framed(t, headFrame(3, false)), framed(t, bodyFrame(3, "event"))}, 3},
		{"head and body at once", 1, [][]byte{framed(t, headFrame(1, false), bodyFrame(1, "body")), framed(t, headFrame(3, false)), framed(t, bodyFrame(3, "event"))}, 3},
		{"leave for the connection", 0, [][]byte{framed(t, leaveFrame(0, 4096)), framed(t, leaveFrame(0, 4096)), framed(t, bodyFrame(1, "body"))}, 1},
		{"leave for a stream", 0, [][]byte{framed(t, leaveFrame(0, 4096), leaveFrame(1, 4096)), framed(t, bodyFrame(1, "body"))}, 2},
		{"much leave", 0, [][]byte{framed(t, leaveFrame(0, keepLeave/2)), framed(t, leaveFrame(0, keepLeave/2)), framed(t, leaveFrame(0, 1))}, 1},
		{"the leave of the beginning", 0, [][]byte{framed(t, func(f *http2.Framer) error { return f.WriteSettings() }), framed(t, leaveFrame(0, maxUpload))}, 2},
		{"leave and a head", 1, [][]byte{framed(t, leaveFrame(0, 4096)), framed(t, headFrame(1, false)), framed(t, bodyFrame(1, "body"))}, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			below := &told{}
			c := &framedConn{out: below}
			for range test.bodies {
				c.bodyFollows()
			}
			for _, p := range test.pieces {
				if n, err := c.Write(p); n != len(p) || err != nil {
					t.Fatalf("%d, %v", n, err)
				}
			}
			if len(below.writes) != test.writes {
				t.Errorf("%d writes, want %d", len(below.writes), test.writes)
			}
			if got, want := bytes.Join(below.writes, nil), bytes.Join(test.pieces, nil); !bytes.Equal(got, want) {
				t.Errorf("written %q, want %q", got, want)
			}
		})
	}
}

// Frames are written in pieces of any size, since there is a buffer between.
func TestFramedConnTakesAnyPieces(t *testing.T) {
	all := framed(t, headFrame(1, false), bodyFrame(1, "some body"), leaveFrame(0, 9), headFrame(3, false), leaveFrame(0, 70000), bodyFrame(3, ""), headFrame(5, true))
	last := framed(t, bodyFrame(7, "the last is never kept"))
	for range 500 {
		below := &told{}
		c := &framedConn{out: below}
		c.bodies.Store(rand.Int32N(4))
		for rest := all; len(rest) > 0; {
			n := 1 + rand.IntN(len(rest))
			if _, err := c.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if _, err := c.Write(last); err != nil {
			t.Fatal(err)
		}
		if got := bytes.Join(below.writes, nil); !bytes.Equal(got, append(bytes.Clone(all), last...)) {
			t.Fatalf("written %q, want %q", got, all)
		}
	}
}

// The body of an answer may have to wait for the client's leave, or its request be given up; others' frames may not.
func TestFramedConnKeepsNoHeadForLong(t *testing.T) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	c := &framedConn{out: ours}
	c.bodyFollows()
	head := framed(t, bodyFrame(1, "of another"), headFrame(3, false))
	if _, err := c.Write(head); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(head))
	if _, err := io.ReadFull(theirs, got); err != nil || !bytes.Equal(got, head) {
		t.Errorf("read %q (%v), want %q", got, err, head)
	}
}

func TestFramedConnTellsFailure(t *testing.T) {
	c := &framedConn{out: &told{err: net.ErrClosed}}
	c.bodyFollows()
	if _, err := c.Write(framed(t, headFrame(1, false))); err != nil {
		t.Errorf("keeping gives %v", err)
	}
	for range 2 {
		if _, err := c.Write(framed(t, bodyFrame(1, "body"))); !errors.Is(err, net.ErrClosed) {
			t.Errorf("the write gives %v, want %v", err, net.ErrClosed)
		}
	}
}

func TestFramedConnOfNobody(t *testing.T) {
	(*framedConn)(nil).bodyFollows() // HTTP/1.1 has none
}
