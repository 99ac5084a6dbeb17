package server

import (
	"context"
	"sync"
)

// charging lets one write at a time charge the quotas of a namespace. Namespaces do not wait for each other, and one that
// nobody writes into keeps nothing here. The zero value is ready for use.
type charging struct {
	mu    sync.Mutex
	lines map[string]*chargingLine
}

type chargingLine struct {
	turn chan struct{} // holds a token while somebody has the turn
	in   int           // those who wait and the one who has the turn
}

// Wait takes the turn of a namespace; done gives it to the next. The error is that of a context which ends first.
func (c *charging) Wait(ctx context.Context, namespace string) (done func(), err error) {
	c.mu.Lock()
	l := c.lines[namespace]
	if l == nil {
		if c.lines == nil {
			c.lines = map[string]*chargingLine{}
		}
		l = &chargingLine{turn: make(chan struct{}, 1)}
		c.lines[namespace] = l
	}
	l.in++
	c.mu.Unlock()
	leave := func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if l.in--; l.in == 0 {
			delete(c.lines, namespace)
		}
	}
	select {
	case l.turn <- struct{}{}:
		return func() {
			<-l.turn
			leave()
		}, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}
