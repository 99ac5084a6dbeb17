package authn

import (
	"crypto/sha256"
	"sync"
)

// cache remembers what was verified by the hash of the credential, so that no credential is kept in memory. It
// holds between n and 2n entries: when the young half is full it becomes the old half, and the old one is dropped.
type cache[V any] struct {
	mu         sync.Mutex
	n          int
	young, old map[[sha256.Size]byte]V
}

func newCache[V any](n int) *cache[V] {
	return &cache[V]{n: n, young: map[[sha256.Size]byte]V{}}
}

func (c *cache[V]) get(key [sha256.Size]byte) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if v, ok := c.young[key]; ok {
		return v, true
	}
	v, ok := c.old[key]
	if ok {
		c.put(key, v)
	}
	return v, ok
}

func (c *cache[V]) add(key [sha256.Size]byte, v V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.put(key, v)
}

func (c *cache[V]) put(key [sha256.Size]byte, v V) {
	if len(c.young) >= c.n {
		c.old, c.young = c.young, make(map[[sha256.Size]byte]V, c.n/4)
	}
	c.young[key] = v
}

// clear forgets all.
func (c *cache[V]) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.young, c.old = map[[sha256.Size]byte]V{}, nil
}
