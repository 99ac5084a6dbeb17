package server

import (
	"context"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// The end of a server goes through these steps:
//
//  1. It is stopping: /readyz fails and default/kubernetes no longer names it, while it serves as always for ShutdownDelay. So load
//     balancers and clients learn of it before anything is refused.
//  2. It is draining: no new connection is taken, or, with ShutdownRetryAfter, every new request is told to come back. Watches and
//     streams are ended, spread over WatchGrace; an ended watch looks to its client like one whose time is over.
//  3. Requests in flight are answered, within RequestTimeout.
//  4. Connections are closed once their last bytes had time to leave.

const (
	// linger is how long connections stay open behind the last answer, for clients to read it and to close them. HTTP/2's own
	// graceful end would keep idle ones for a second.
	linger = 250 * time.Millisecond
	// leastWatchGrace is how long an ended watch may take to tell its client so; one whose client does not read never ends.
	leastWatchGrace = time.Second
	// endStep is the least time between two steps of ending watches.
	endStep = 10 * time.Millisecond
	// comeBack are the seconds after which clients are asked to try again.
	comeBack = 5
)

// drain ends the serving gracefully. withdraw takes the server out of default/kubernetes, stop ends what runs in the background and
// whatever is still in flight.
func (s *Server) drain(srv *http.Server, withdraw, stop func()) error {
	s.stopping.Store(true)
	withdraw()
	time.Sleep(s.cfg.ShutdownDelay)

	s.draining.Store(true)
	answered, cancel := context.WithTimeout(context.Background(), s.cfg.RequestTimeout)
	defer cancel()
	ended, cancelWatches := context.WithTimeout(context.Background(), max(s.cfg.WatchGrace, leastWatchGrace))
	defer cancelWatches()
	if !s.cfg.ShutdownRetryAfter {
		defer closeListeners(srv)()
	}
	s.endLongRunning(s.cfg.WatchGrace)
	s.until(answered, s.noneShort)
	s.until(ended, s.metrics.noneLong)
	if s.cfg.ShutdownRetryAfter {
		defer closeListeners(srv)()
	}
	quiet, cancelQuiet := context.WithTimeout(answered, linger)
	defer cancelQuiet()
	s.until(quiet, func() bool { return s.conns.Load() == 0 })
	// A request that was just arriving when the server began to drain is served as well.
	s.until(answered, s.noneShort)
	stop()
	return srv.Close()
}

// closeListeners tells clients to open no more requests on their connections, and takes no more connections. The function it gives
// waits for the end of that, after srv is closed.
func closeListeners(srv *http.Server) func() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Shutdown(ctx) // it ends with the last connection, or is given up
	}()
	return func() { cancel(); <-done }
}

// endLongRunning ends every watch and stream, one after the other over three quarters of span, so that their clients do not all turn to
// another server at the same time and still have a quarter to be told.
func (s *Server) endLongRunning(span time.Duration) {
	open := s.metrics.openLongRunning()
	span = span * 3 / 4
	if span < endStep || len(open) == 0 {
		for _, end := range open {
			end()
		}
		return
	}
	step := max(span/time.Duration(len(open)), endStep)
	atOnce := (len(open)*int(step) + int(span) - 1) / int(span)
	tick := time.NewTicker(step)
	defer tick.Stop()
	for some := range slices.Chunk(open, atOnce) {
		<-tick.C
		for _, end := range some {
			end()
		}
	}
}

// until waits for f to hold, which is asked whenever a request or connection has ended, or for ctx to end.
func (s *Server) until(ctx context.Context, f func() bool) {
	for !f() {
		select {
		case <-s.ended:
		case <-ctx.Done():
			return
		}
	}
}

func (s *Server) noneShort() bool { return s.active.Load() == 0 }

// enter and leave count the requests that a shutdown waits for.
func (s *Server) enter() { s.active.Add(1) }

func (s *Server) leave() {
	s.active.Add(-1)
	s.tellEnded()
}

// tellEnded lets a shutdown look again.
func (s *Server) tellEnded() {
	if !s.stopping.Load() {
		return
	}
	select {
	case s.ended <- struct{}{}:
	default: // it has not looked since the last one
	}
}

// countConns follows how many connections there are. Those that a stream took over are the stream's.
func (s *Server) countConns(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.conns.Add(1)
	case http.StateClosed, http.StateHijacked:
		s.conns.Add(-1)
		s.tellEnded()
	}
}

// turnAway refuses a request while the server drains, where it was asked to go on listening for that. Who asks for its health is
// answered.
func (s *Server) turnAway(w http.ResponseWriter, r *http.Request) bool {
	if !s.draining.Load() || !s.cfg.ShutdownRetryAfter {
		return false
	}
	for _, p := range []string{"/healthz", "/livez", "/readyz"} {
		if strings.HasPrefix(r.URL.Path, p) {
			return false
		}
	}
	w.Header().Set("Connection", "close")
	sendStatus(w, r, apierrors.NewTooManyRequests("The apiserver is shutting down, please try again later.", comeBack))
	return true
}
