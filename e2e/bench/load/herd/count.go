package herd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Counts of what a herd has done.
type Counts struct {
	Renewed, Reported, Started, Removed int64
	// Late is by how much a heartbeat was late at most.
	Late time.Duration
	// Failures are requests that failed, by what they were for and why. They were tried again.
	Failures map[string]int64
}

// Failed is the sum of the failures.
func (c Counts) Failed() (sum int64) {
	for _, n := range c.Failures {
		sum += n
	}
	return sum
}

// Told are the failures as text, the most frequent first; "" is none.
func (c Counts) Told() string {
	keys := slices.SortedFunc(maps.Keys(c.Failures), func(a, b string) int {
		return cmp.Or(cmp.Compare(c.Failures[b], c.Failures[a]), strings.Compare(a, b))
	})
	var all []string
	for _, k := range keys {
		all = append(all, fmt.Sprintf("%d × %s", c.Failures[k], k))
	}
	return strings.Join(all, "; ")
}

type counts struct {
	renewed, reported, started, removed, latest atomic.Int64

	mu       sync.Mutex
	failures map[string]int64
}

func (c *counts) late(d time.Duration) {
	for {
		old := c.latest.Load()
		if int64(d) <= old || c.latest.CompareAndSwap(old, int64(d)) {
			return
		}
	}
}

// fail counts an error. That of a herd which is told to end is none.
func (c *counts) fail(ctx context.Context, what string, err error) {
	if errors.Is(ctx.Err(), context.Canceled) {
		return
	}
	key := what + ": " + reason(err)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failures == nil {
		c.failures = map[string]int64{}
	}
	c.failures[key]++
}

// reason is what errors of one kind have in common: the server's word, or the innermost error's text, which names no object.
func reason(err error) string {
	if r := apierrors.ReasonForError(err); r != metav1.StatusReasonUnknown {
		return string(r)
	}
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return err.Error()
}

func (c *counts) read() Counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Counts{
		Renewed: c.renewed.Load(), Reported: c.reported.Load(), Started: c.started.Load(), Removed: c.removed.Load(),
		Late: time.Duration(c.latest.Load()), Failures: maps.Clone(c.failures),
	}
}
