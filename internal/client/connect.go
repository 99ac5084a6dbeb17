package client

import (
	"context"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/connrotation"
)

// How soon a server that is not there any more is noticed: a cable was cut, a machine lost its power. A request that waits for an
// answer, and a watch on which nothing happens, end after deadAfter at the latest and are made anew. Without, they would wait
// for as long as the kernel sends again, a quarter of an hour. Somebody who is slow but there is not taken for dead: the kernel
// answers for him.
const (
	dialTimeout = 5 * time.Second
	deadAfter   = 15 * time.Second
	// herd spreads what everybody does when a server is back.
	herd = 200 * time.Millisecond
	// askMin and askMax bound the time between two questions whether it is.
	askMin, askMax = 500 * time.Millisecond, 2 * time.Second
)

// dialer makes connections that end when nobody is there any more.
func dialer() *net.Dialer {
	return &net.Dialer{
		Timeout:         dialTimeout,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: deadAfter / 3, Interval: deadAfter / 5, Count: 3},
		Control: func(_, _ string, c syscall.RawConn) error {
			var failed error
			err := c.Control(func(fd uintptr) {
				failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(deadAfter.Milliseconds()))
			})
			if err != nil {
				return err
			}
			return failed
		},
	}
}

// connection is a client's way to its server.
type connection struct {
	http   *http.Client
	probe  string // URL that tells whether the server is ready
	dialer *connrotation.Dialer
	mu     sync.Mutex
	lost   *outage // nil while the server can be reached, as far as known
}

// outage is a time in which the server cannot be reached. While somebody waits for its end, the server is asked again and again, so
// that nobody waits for longer than it lasts.
type outage struct {
	restored chan struct{} // closed at its end
	waiting  int
	stop     context.CancelFunc // ends the asking
}

func connect(cfg *rest.Config) (*connection, error) {
	base, _, err := rest.DefaultServerUrlFor(cfg)
	if err != nil {
		return nil, err
	}
	dial := cfg.Dial
	if dial == nil {
		dial = dialer().DialContext
	}
	c := &connection{dialer: connrotation.NewDialer(dial), probe: base.JoinPath("readyz").String()}
	own := rest.CopyConfig(cfg)
	own.Dial = c.dialer.DialContext
	c.http, err = rest.HTTPClientFor(own)
	return c, err
}

// do sends a request, and notes whether the server could be reached.
func (c *connection) do(req *http.Request) (*http.Response, error) {
	res, err := c.http.Do(req)
	if err != nil && req.Context().Err() != nil {
		return nil, err // the caller gave up, which says nothing about the server
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err != nil && c.lost == nil:
		c.lost = &outage{restored: make(chan struct{})}
	case err == nil && c.lost != nil && res.StatusCode < http.StatusInternalServerError: // not one that is still starting
		close(c.lost.restored)
		c.lost = nil
	}
	return res, err
}

// await gives a channel that is closed at the end of the outage that there is; nil without one. done must be called.
func (c *connection) await() (restored <-chan struct{}, done func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.lost
	if o == nil {
		return nil, func() {}
	}
	if o.waiting++; o.waiting == 1 {
		var ctx context.Context
		ctx, o.stop = context.WithCancel(context.Background())
		go c.ask(ctx, o)
	}
	return o.restored, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if o.waiting--; o.waiting == 0 {
			o.stop()
		}
	}
}

// ask for the server until it answers or nobody wants to know any more.
func (c *connection) ask(ctx context.Context, o *outage) {
	for wait := askMin; ; wait = min(wait*3/2, askMax) {
		t := time.NewTimer(wait/2 + rand.N(wait/2))
		select {
		case <-t.C:
		case <-o.restored:
			t.Stop()
			return
		case <-ctx.Done():
			t.Stop()
			return
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.probe, nil)
		if err != nil {
			return
		}
		if res, err := c.do(req); err == nil {
			res.Body.Close()
		}
	}
}

// Restored tells whether the server of c can be reached, as far as known: nil if so, else a channel that is closed when it can again.
func Restored(c Interface) <-chan struct{} {
	r, ok := c.(*restClient)
	if !ok {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lost == nil {
		return nil
	}
	return r.lost.restored
}

// Reconnect ends all connections of c, so that it uses the credentials that are on disk now. Requests and watches that are under way
// fail, and are made again by those who made them.
func Reconnect(c Interface) {
	if r, ok := c.(*restClient); ok {
		r.dialer.CloseAll()
	}
}

// Wait waits for d, but no longer than until the server of c answers again if it cannot be reached, and up to herd more. So after an
// outage everybody goes on at once, however long the waits between tries have grown.
func Wait(ctx context.Context, c Interface, d time.Duration) {
	var restored <-chan struct{}
	if r, ok := c.(*restClient); ok {
		var done func()
		restored, done = r.await()
		defer done()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return
	case <-ctx.Done():
		return
	case <-restored:
	}
	again := time.NewTimer(rand.N(herd))
	defer again.Stop()
	select {
	case <-again.C:
	case <-t.C:
	case <-ctx.Done():
	}
}
