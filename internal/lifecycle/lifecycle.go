// Package lifecycle runs the parts of a process together.
//
// A part is a blocking function of a context: it works until the context ends and then returns nil. Parts are
// started in the order in which they are given and stopped in reverse: each part's context ends only when all that
// were started after it have returned, so a part can rely on those before it until its own end. A part that returns
// an error, or panics, is started again after a wait that grows from 100 ms to 30 s; the others go on. A part that
// cannot be run at all says so with [Fatal], which ends the group.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"
)

// Part is one piece of work in a group.
type Part struct {
	Name string
	Run  func(context.Context) error
}

// Fatal marks an error that starting again cannot mend, such as an address in use at the start.
func Fatal(err error) error {
	if err == nil {
		return nil
	}
	return fatal{err}
}

// ErrAgain marks an error that only a new process mends; see [Again].
var ErrAgain = errors.New("a new process is needed")

// Again marks an error as fatal for this process but not for its work: whoever runs the process puts a new one in its place, which
// goes on.
func Again(err error) error { return fatal{fmt.Errorf("%w: %w", ErrAgain, err)} }

type fatal struct{ error }

func (f fatal) Unwrap() error { return f.error }

// Group runs parts. The zero value is ready for use.
type Group struct {
	mu      sync.Mutex
	running []*runningPart
	err     error
	failed  chan struct{}
	once    sync.Once
}

type runningPart struct {
	name   string
	cancel context.CancelFunc
	done   chan struct{}
}

const (
	firstWait = 100 * time.Millisecond
	lastWait  = 30 * time.Second
	// A part that ran this long is thought healthy: its next failure starts with a short wait again.
	healthyAfter = time.Minute
)

// Start runs a part in the background. Parts started later are stopped earlier.
func (g *Group) Start(p Part) {
	g.init()
	ctx, cancel := context.WithCancel(context.Background())
	r := &runningPart{p.Name, cancel, make(chan struct{})}
	g.mu.Lock()
	g.running = append(g.running, r)
	g.mu.Unlock()
	go func() {
		defer close(r.done)
		if err := keep(ctx, p); err != nil {
			g.fail(fmt.Errorf("%s: %w", p.Name, err))
		}
	}()
}

// Failed is closed when a part failed for good; Err tells why.
func (g *Group) Failed() <-chan struct{} { g.init(); return g.failed }

// Err is the first fatal error, or nil.
func (g *Group) Err() error { g.mu.Lock(); defer g.mu.Unlock(); return g.err }

// Wait returns when ctx ends or a part fails for good, after all parts have been stopped in reverse order.
func (g *Group) Wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
	case <-g.Failed():
	}
	g.Stop()
	return g.Err()
}

// Stop stops all parts, the last started first, each when the one after it has returned.
func (g *Group) Stop() {
	g.mu.Lock()
	parts := g.running
	g.running = nil
	g.mu.Unlock()
	for i := len(parts) - 1; i >= 0; i-- {
		parts[i].cancel()
		<-parts[i].done
	}
}

func (g *Group) init() { g.once.Do(func() { g.failed = make(chan struct{}) }) }

func (g *Group) fail(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err == nil {
		g.err = err
		close(g.failed)
	}
}

// keep runs a part until its context ends; the error it returns is fatal.
func keep(ctx context.Context, p Part) error {
	log := slog.Default().With("component", p.Name)
	wait := firstWait
	for {
		began := time.Now()
		err := Guard(func() error { return p.Run(ctx) })
		if ctx.Err() != nil {
			if err != nil && !errors.Is(err, context.Canceled) {
				log.Info("stopped with an error", "error", err)
			}
			return nil
		}
		var f fatal
		if errors.As(err, &f) {
			return f.error
		}
		if time.Since(began) > healthyAfter {
			wait = firstWait
		}
		log.Error("ended unexpectedly, starting again", "error", err, "wait", wait)
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil
		}
		wait = min(2*wait, lastWait)
	}
}

// Renewed is the work of a part that can be run once only: each run is that of a new one. The first is made at once, so that
// mistakes in its configuration show at the start.
func Renewed[T interface{ Run(context.Context) error }](make func() (T, error)) (func(context.Context) error, error) {
	next, err := make()
	if err != nil {
		return nil, err
	}
	used := false
	return func(ctx context.Context) error {
		if used {
			again, err := make()
			if err != nil {
				return err
			}
			next = again
		}
		used = true
		return next.Run(ctx)
	}, nil
}

// Persist runs f until it returns. One that panics is started again, as a part is, until ctx ends.
func Persist(ctx context.Context, name string, f func(context.Context) error) error {
	var result error
	err := keep(ctx, Part{Name: name, Run: func(ctx context.Context) error {
		ended := false
		err := Guard(func() error {
			result = f(ctx)
			ended = true
			return result
		})
		switch {
		case ended && ctx.Err() != nil:
			return nil
		case ended:
			return fatal{errEnded}
		}
		return err
	}})
	if err == nil || errors.Is(err, errEnded) {
		return result
	}
	return err
}

var errEnded = errors.New("ended")

// Guard calls f and turns a panic into an error with its stack.
func Guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return f()
}
