package gc

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// absent remembers the UIDs of the last objects that were seen to go. A UID never comes back, so a dependent
// of one needs no request to know that its owner is gone. Safe for concurrent use.
type absent struct {
	mu   sync.Mutex
	set  map[types.UID]bool
	ring []types.UID
	at   int
}

func newAbsent(size int) *absent {
	return &absent{set: make(map[types.UID]bool, size), ring: make([]types.UID, size)}
}

func (a *absent) add(uid types.UID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.set[uid] {
		return
	}
	delete(a.set, a.ring[a.at])
	a.ring[a.at] = uid
	a.set[uid] = true
	a.at = (a.at + 1) % len(a.ring)
}

func (a *absent) has(uid types.UID) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.set[uid]
}
