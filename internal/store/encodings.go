package store

import (
	"sync"
	"sync/atomic"
)

// encodings are the kept encodings of one entry or event. Readers take no lock.
type encodings struct {
	list atomic.Pointer[[]*encoding]
	mu   sync.Mutex
}

type encoding struct {
	format Format
	data   []byte
	size   int64
	owner  *encodings
	used   atomic.Bool
}

func (e *encodings) get(f Format) ([]byte, bool) {
	list := e.list.Load()
	if list == nil {
		return nil, false
	}
	for _, c := range *list {
		if c.format == f {
			if !c.used.Load() {
				c.used.Store(true)
			}
			return c.data, true
		}
	}
	return nil, false
}

func (e *encodings) drop(gone *encoding) {
	e.mu.Lock()
	defer e.mu.Unlock()
	old := e.list.Load()
	if old == nil {
		return
	}
	rest := make([]*encoding, 0, len(*old))
	for _, c := range *old {
		if c != gone {
			rest = append(rest, c)
		}
	}
	if len(rest) == 0 {
		e.list.Store(nil)
		return
	}
	e.list.Store(&rest)
}

// encodingCache bounds the bytes of all kept encodings. What is used again between two passes stays (the
// clock algorithm); the rest goes, oldest first.
type encodingCache struct {
	budget int64
	mu     sync.Mutex
	bytes  int64
	queue  []*encoding // oldest first, from head on
	head   int
}

func newEncodingCache(budget int64) *encodingCache { return &encodingCache{budget: budget} }

// put keeps data for the owner, unless another was faster; it gives what is kept.
func (c *encodingCache) put(owner *encodings, f Format, data []byte) []byte {
	e := &encoding{format: f, data: data, size: int64(len(data)), owner: owner}
	owner.mu.Lock()
	old := owner.list.Load()
	var list []*encoding
	if old != nil {
		for _, have := range *old {
			if have.format == f {
				owner.mu.Unlock()
				return have.data
			}
		}
		list = append(list, *old...)
	}
	list = append(list, e)
	owner.list.Store(&list)
	owner.mu.Unlock()
	c.add(e)
	return data
}

func (c *encodingCache) add(e *encoding) {
	var evicted []*encoding
	c.mu.Lock()
	c.bytes += e.size
	c.queue = append(c.queue, e)
	for c.bytes > c.budget && c.head < len(c.queue) {
		oldest := c.queue[c.head]
		c.queue[c.head] = nil
		c.head++
		if oldest != e && oldest.used.Swap(false) {
			c.queue = append(c.queue, oldest)
			continue
		}
		c.bytes -= oldest.size
		evicted = append(evicted, oldest)
	}
	c.compact()
	c.mu.Unlock()
	for _, e := range evicted {
		e.owner.drop(e)
	}
}

// sweep drops everything that was not used since the last sweep.
func (c *encodingCache) sweep() {
	var evicted []*encoding
	c.mu.Lock()
	var kept []*encoding
	for _, e := range c.queue[c.head:] {
		if e.used.Swap(false) {
			kept = append(kept, e)
			continue
		}
		c.bytes -= e.size
		evicted = append(evicted, e)
	}
	c.queue, c.head = kept, 0
	c.mu.Unlock()
	for _, e := range evicted {
		e.owner.drop(e)
	}
}

func (c *encodingCache) compact() {
	if c.head < 1024 || c.head*2 < len(c.queue) {
		return
	}
	c.queue = append([]*encoding(nil), c.queue[c.head:]...)
	c.head = 0
}
