package load

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"k8s.io/client-go/rest"
)

// own gives a configuration whose connections are shared with no other's. What there is to read is read with few calls.
func own(cfg *rest.Config) *rest.Config {
	c := rest.CopyConfig(cfg)
	c.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &readAhead{conn, bufio.NewReaderSize(conn, 64<<10)}, nil
	}
	return c
}

// Raw sends bodies that were encoded beforehand over client-go's connections and drops the answers, so that encoding and decoding in the client do not hide
// the server. It asks for no compression.
type Raw struct {
	client *http.Client
	host   string
	buf    []byte
}

// readAtOnce is how much a client takes from an answer at a time. client-go, which reads whole answers into memory, takes as much; with less, it would be
// the client's updates of HTTP/2's windows that are measured.
const readAtOnce = 256 << 10

// NewRaw makes one with a connection of its own.
func NewRaw(cfg *rest.Config) (*Raw, error) {
	c := own(cfg)
	c.DisableCompression = true
	client, err := rest.HTTPClientFor(c)
	if err != nil {
		return nil, err
	}
	return &Raw{client, c.Host, make([]byte, readAtOnce)}, nil
}

// Raws is a number of them.
func Raws(cfg *rest.Config, n int) ([]*Raw, error) {
	var all []*Raw
	for range n {
		r, err := NewRaw(cfg)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}

// Message is a request.
type Message struct {
	Method, Path string
	Type         string // of the body
	Accept       string
	Body         []byte
	// Code of a success; any other fails.
	Code int
}

// Send sends a request and gives the length of the answer. It is for one goroutine.
func (r *Raw) Send(ctx context.Context, m Message) (int64, error) {
	var body io.Reader
	if m.Body != nil {
		body = bytes.NewReader(m.Body)
	}
	req, err := http.NewRequestWithContext(ctx, m.Method, r.host+m.Path, body)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Accept", m.Accept)
	if m.Body != nil {
		req.Header.Set("Content-Type", m.Type)
	}
	res, err := r.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	var n int64
	for err == nil {
		var got int
		got, err = res.Body.Read(r.buf)
		n += int64(got)
	}
	switch {
	case err != io.EOF:
		return n, err
	case res.StatusCode != m.Code:
		return n, fmt.Errorf("%s %s: %s", m.Method, m.Path, res.Status)
	}
	return n, nil
}

// Stream is a watch that is read but not decoded, over a connection of its own.
type Stream struct {
	conn net.Conn
	in   *bufio.Reader
}

// OpenStream opens one by HTTP/1.1: what is left for the client is TLS and looking for line ends.
func OpenStream(ctx context.Context, cfg *rest.Config, path string) (*Stream, error) {
	t, err := rest.TLSConfigFor(cfg)
	if err != nil {
		return nil, err
	}
	t = t.Clone()
	t.NextProtos = []string{"http/1.1"}
	u, err := url.Parse(cfg.Host)
	if err != nil {
		return nil, err
	}
	t.ServerName = u.Hostname()
	plain, err := (&net.Dialer{}).DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(&readAhead{plain, bufio.NewReaderSize(plain, 64<<10)}, t)
	if err := conn.HandshakeContext(ctx); err != nil {
		plain.Close()
		return nil, err
	}
	context.AfterFunc(ctx, func() { conn.Close() })
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nAccept: application/json\r\n\r\n", path, u.Host); err != nil {
		conn.Close()
		return nil, err
	}
	s := &Stream{conn, bufio.NewReaderSize(conn, 64<<10)}
	for first := true; ; first = false {
		line, err := s.in.ReadString('\n')
		if err != nil {
			conn.Close()
			return nil, err
		}
		if first && len(line) > 12 && line[9:12] != "200" {
			conn.Close()
			return nil, fmt.Errorf("%s: %s", path, line)
		}
		if line == "\r\n" {
			return s, nil
		}
	}
}

// readAhead reads as much at a time as there is, where TLS would ask for one record.
type readAhead struct {
	net.Conn
	in *bufio.Reader
}

func (r *readAhead) Read(p []byte) (int, error) { return r.in.Read(p) }

// OpenStreamWhenUp opens one as soon as the server can be reached.
func OpenStreamWhenUp(ctx context.Context, cfg *rest.Config, path string) (*Stream, error) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		s, err := OpenStream(ctx, cfg, path)
		if err == nil {
			return s, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, err
		}
	}
}

// Events waits for the next data and tells how many events end in it, and how many bytes it was. An event ends with a brace
// and a line end, which is found nowhere else: within JSON and in the chunks' frames a line end comes after something else.
func (s *Stream) Events() (events, bytes int, err error) {
	for {
		line, err := s.in.ReadSlice('\n')
		bytes += len(line)
		if n := len(line); n > 1 && line[n-2] == '}' && line[n-1] == '\n' {
			return 1, bytes, nil
		}
		if err != nil && err != bufio.ErrBufferFull {
			return 0, bytes, err
		}
	}
}

// Close ends the stream.
func (s *Stream) Close() error { return s.conn.Close() }
