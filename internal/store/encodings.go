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
	owner  *encodings
	used   atomic.Bool
}

func (e *encoding) weight() int64 { return int64(len(e.data)) }

func (e *encoding) spared() bool { return e.used.Swap(false) }

func (e *encoding) release() { e.owner.drop(e) }

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

// encodingCache bounds the bytes of all kept encodings.
type encodingCache struct{ *clock[*encoding] }

func newEncodingCache(budget int64) *encodingCache {
	return &encodingCache{newClock[*encoding](budget)}
}

// put keeps data for the owner, unless another was faster; it gives what is kept.
func (c *encodingCache) put(owner *encodings, f Format, data []byte) []byte {
	e := &encoding{format: f, data: data, owner: owner}
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
