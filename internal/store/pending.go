package store

import (
	"bytes"
	"slices"
	"sync"
	"unsafe"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"hyperkube/internal/object"
)

// pending knows the writes of this process that the feed has not shown yet, so that their values need not be decoded and
// the object in the cache is the one that the writer got.
type pending struct {
	mu    sync.Mutex
	byKey map[string][]*pendingWrite
}

type pendingWrite struct {
	sealed
	obj object.Object
	// entry is made by whoever comes first, the writer with its answer or the feed with the event.
	entry      *Entry
	seen, told bool // the feed has shown it; the writer has its answer
}

func (w *pendingWrite) newEntry(c *Collection, key string, rev, lease int64) *Entry {
	e := c.newEntry(key, rev, w.obj, w.plain, w.by, lease)
	e.marks.Store(written | exact)
	e.hold(w.obj)
	return e
}

func (p *pending) begin(key string, data sealed, obj object.Object) *pendingWrite {
	w := &pendingWrite{sealed: data, obj: obj}
	p.mu.Lock()
	p.byKey[key] = append(p.byKey[key], w)
	p.mu.Unlock()
	return w
}

func (p *pending) fail(key string, w *pendingWrite) {
	p.mu.Lock()
	p.drop(key, w)
	p.mu.Unlock()
}

// done gives the entry of a write that etcd accepted at rev.
func (p *pending) done(c *Collection, key string, w *pendingWrite, rev, lease int64) *Entry {
	p.mu.Lock()
	defer p.mu.Unlock()
	w.told = true
	if w.entry == nil {
		w.entry = w.newEntry(c, key, rev, lease)
		if rev <= c.store.feed.from.Load() {
			p.drop(key, w)
		}
		return w.entry
	}
	p.drop(key, w)
	if w.entry.Revision == rev {
		return w.entry
	}
	// The feed took our object for an equal value that another writer stored.
	obj := w.obj.DeepCopyObject().(object.Object)
	e := c.newEntry(key, rev, obj, w.plain, w.by, lease)
	e.hold(obj)
	return e
}

// received gives the entry of a value that the feed brought, decoding it only when it is not one of ours.
func (c *Collection) received(kv *mvccpb.KeyValue) *Entry {
	if e := c.pending.take(c, kv); e != nil {
		return e
	}
	return c.decode(kv, true)
}

func (p *pending) take(c *Collection, kv *mvccpb.KeyValue) *Entry {
	p.mu.Lock()
	defer p.mu.Unlock()
	var found *Entry
	for _, w := range p.byKey[string(kv.Key)] {
		switch {
		case w.entry != nil && w.entry.Revision < kv.ModRevision:
			// Its event is past; nothing will ask for it again.
			w.seen = true
		case w.seen || found != nil || !bytes.Equal(w.data, kv.Value):
		case w.entry == nil:
			w.entry, w.seen = w.newEntry(c, string(kv.Key), kv.ModRevision, kv.Lease), true
			found = w.entry
		case w.entry.Revision == kv.ModRevision:
			w.seen = true
			found = w.entry
		}
	}
	for _, w := range slices.Clone(p.byKey[string(kv.Key)]) {
		if w.seen && w.told {
			p.drop(string(kv.Key), w)
		}
	}
	return found
}

func (p *pending) drop(key string, w *pendingWrite) {
	list := p.byKey[key]
	for i, other := range list {
		if other == w {
			list = append(list[:i:i], list[i+1:]...)
			break
		}
	}
	if len(list) == 0 {
		delete(p.byKey, key)
		return
	}
	p.byKey[key] = list
}

// settle forgets the writes up to rev, where the feed begins: it will not show them.
func (p *pending) settle(rev int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, list := range p.byKey {
		for _, w := range slices.Clone(list) {
			if w.told && w.entry.Revision <= rev {
				p.drop(key, w)
			}
		}
	}
}

// clear forgets all: the feed has lost events and will not show them.
func (p *pending) clear() {
	p.mu.Lock()
	p.byKey = map[string][]*pendingWrite{}
	p.mu.Unlock()
}

// bytesAsString saves a copy. The bytes are never written again.
func bytesAsString(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
