package podset

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// ExpectationTimeout is when an echo that has not come is no longer waited for: the watch
// may have been cut, or the object may have been changed out of the selection before it was seen.
const ExpectationTimeout = 5 * time.Minute

// Expectations remember, for each owner, the creations and deletions of pods that it asked for and has not yet seen in its
// cache. While any are open, the cache is older than the owner's own writes, and to act on it would do them
// twice. Safe for concurrent use; K is the key of owners.
type Expectations[K comparable] struct {
	mu   sync.Mutex
	open map[K]*expectation
}

type expectation struct {
	creates int
	deletes map[types.UID]bool
	since   time.Time
}

// NewExpectations makes an empty set.
func NewExpectations[K comparable]() *Expectations[K] {
	return &Expectations[K]{open: map[K]*expectation{}}
}

// Met says whether all echoes have come, or were waited for too long. left is how long the
// oldest open one will still be waited for.
func (e *Expectations[K]) Met(owner K, now time.Time) (met bool, left time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	x := e.open[owner]
	if x == nil {
		return true, 0
	}
	left = x.since.Add(ExpectationTimeout).Sub(now)
	if (x.creates <= 0 && len(x.deletes) == 0) || left <= 0 {
		delete(e.open, owner)
		return true, 0
	}
	return false, left
}

// ExpectCreates is told before n pods are created.
func (e *Expectations[K]) ExpectCreates(owner K, n int, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.get(owner, now).creates += n
}

// ExpectDeletes is told before pods are deleted.
func (e *Expectations[K]) ExpectDeletes(owner K, now time.Time, uids ...types.UID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	x := e.get(owner, now)
	for _, u := range uids {
		x.deletes[u] = true
	}
}

// Created is told of a creation seen, or of one that failed.
func (e *Expectations[K]) Created(owner K) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if x := e.open[owner]; x != nil && x.creates > 0 {
		x.creates--
	}
}

// Deleted is told of a deletion seen (a pod with a deletion time counts), or of one that failed.
func (e *Expectations[K]) Deleted(owner K, uid types.UID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if x := e.open[owner]; x != nil {
		delete(x.deletes, uid)
	}
}

// Forget drops all of one owner.
func (e *Expectations[K]) Forget(owner K) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.open, owner)
}

func (e *Expectations[K]) get(owner K, now time.Time) *expectation {
	x := e.open[owner]
	if x == nil {
		x = &expectation{deletes: map[types.UID]bool{}}
		e.open[owner] = x
	}
	x.since = now
	return x
}
