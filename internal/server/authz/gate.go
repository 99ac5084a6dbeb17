package authz

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// gate holds decisions back until what they are based on is complete.
type gate struct {
	open    atomic.Bool
	timeout time.Duration
	waits   []func(context.Context) error
}

var errNotReady = errors.New("the authorizer is not ready yet")

func (g *gate) passed() bool {
	if g.open.Load() {
		return true
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return g.through(ctx)
}

// wait returns at once when the gate is open.
func (g *gate) wait(ctx context.Context) error {
	if g.open.Load() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, g.timeout)
	defer cancel()
	if !g.through(ctx) {
		return errNotReady
	}
	return nil
}

func (g *gate) through(ctx context.Context) bool {
	for _, w := range g.waits {
		if w(ctx) != nil {
			return false
		}
	}
	g.open.Store(true)
	return true
}

// waitFor waits for a channel; what is closed counts before an ended context.
func waitFor(c <-chan struct{}) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-c:
			return nil
		default:
		}
		select {
		case <-c:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// synced waits for an informer.
func synced(i interface {
	HasSynced() bool
	WaitForSync(context.Context) error
}) func(context.Context) error {
	return func(ctx context.Context) error {
		if i.HasSynced() {
			return nil
		}
		return i.WaitForSync(ctx)
	}
}
