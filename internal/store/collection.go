package store

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/google/btree"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"hyperkube/internal/object"
)

// Collection is the objects of one kind: reads and watches from a cache, writes to etcd.
type Collection struct {
	store   *Store
	kind    *object.Kind
	prefix  string       // of keys in etcd, with a slash at its end
	goType  reflect.Type // of the kind's objects
	pending pending
	packer  packer

	mu      sync.RWMutex
	ready   chan struct{} // closed when the cache is filled
	loading bool
	early   []received // events that came while loading
	// generation grows when events were lost: a list begun before is of no use.
	generation int64
	stopped    error

	tree    *btree.BTreeG[*Entry] // by key
	byIndex *btree.BTreeG[*Entry] // by index value and key; nil for kinds without an indexed field
	last    int64                 // revision of the newest event applied, or of the list
	snap    *snapshot             // of the present state, while nothing changed since
	past    []*snapshot           // made for pages of lists, newest last

	window     window
	topics     topics
	remembered remembered
	making     sync.Mutex // held by a list that makes encodings

	metrics *kindMetrics
}

// received is an event as it came from etcd; entry is nil for a deletion.
type received struct {
	key   string
	rev   int64
	entry *Entry
	at    time.Time
}

func newCollection(s *Store, k *object.Kind) *Collection {
	c := &Collection{
		store:   s,
		kind:    k,
		prefix:  s.cfg.Prefix + k.StoragePrefix + "/",
		ready:   make(chan struct{}),
		loading: true,
		metrics: s.kindMetrics(k.GroupResource()),
	}
	c.goType = reflect.TypeOf(k.Hub().New())
	c.pending.byKey = map[string][]*pendingWrite{}
	c.topics.init()
	c.newTrees()
	return c
}

func (c *Collection) newTrees() {
	c.tree = btree.NewG(32, func(a, b *Entry) bool { return a.key < b.key })
	if indexField(c.kind) != "" {
		c.byIndex = btree.NewG(32, func(a, b *Entry) bool {
			if a.index != b.index {
				return a.index < b.index
			}
			return a.key < b.key
		})
	}
}

// Kind is the row that the collection holds objects of.
func (c *Collection) Kind() *object.Kind { return c.kind }

func (c *Collection) etcdKey(k object.Key) string {
	if c.kind.Scope == object.Namespaced {
		return c.prefix + k.Namespace + "/" + k.Name
	}
	return c.prefix + k.Name
}

func (c *Collection) keyOf(etcdKey string) object.Key {
	rest := etcdKey[len(c.prefix):]
	if c.kind.Scope == object.Namespaced {
		if ns, name, ok := strings.Cut(rest, "/"); ok {
			return object.Key{Namespace: ns, Name: name}
		}
	}
	return object.Key{Name: rest}
}

// waitReady blocks until the cache is filled.
func (c *Collection) waitReady(ctx context.Context) error {
	for {
		c.mu.RLock()
		ready, loading, stopped := c.ready, c.loading, c.stopped
		c.mu.RUnlock()
		if stopped != nil {
			return stopped
		}
		if !loading {
			return nil
		}
		select {
		case <-ready:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// load lists the kind from etcd and then applies what the feed brought meanwhile.
func (c *Collection) load(ctx context.Context) {
	retry := newBackoff()
	select {
	case <-c.store.feed.started:
	case <-ctx.Done():
		return
	}
	for {
		c.mu.RLock()
		stopped, generation := c.stopped, c.generation
		c.mu.RUnlock()
		if ctx.Err() != nil || stopped != nil {
			return
		}
		entries, rev, err := c.listAll(ctx)
		if err == nil {
			if c.filled(entries, rev, generation) {
				return
			}
			continue
		}
		c.store.log.Warn("cache could not be filled", "resource", c.kind.GroupResource().String(), "err", err)
		retry.wait(ctx)
	}
}

// listAll reads every object at one revision, in pages.
func (c *Collection) listAll(ctx context.Context) ([]*Entry, int64, error) {
	const page = 2000
	end := clientv3.GetPrefixRangeEnd(c.prefix)
	start, rev := c.prefix, int64(0)
	var all []*Entry
	for {
		asked := time.Now()
		resp, err := c.store.client.Get(ctx, start, clientv3.WithRange(end), clientv3.WithLimit(page), clientv3.WithRev(rev))
		c.metrics.asked(opList, asked, err)
		if err != nil {
			return nil, 0, err
		}
		if rev == 0 {
			rev = resp.Header.Revision
			all = make([]*Entry, 0, resp.Count)
		}
		for _, kv := range resp.Kvs {
			e := c.known(kv, false)
			if e.unavailable() {
				return nil, 0, e.Err()
			}
			all = append(all, e)
		}
		if !resp.More {
			return all, rev, nil
		}
		start = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
}

// known is the entry of a stored value: the cached one when it is of the same revision. hold says that somebody is about to use the object.
func (c *Collection) known(kv *mvccpb.KeyValue, hold bool) *Entry {
	if e := c.peek(string(kv.Key)); e != nil && e.Revision == kv.ModRevision && e.Err() == nil {
		return e
	}
	return c.decode(kv, hold)
}

func (c *Collection) peek(key string) *Entry {
	c.mu.RLock()
	defer c.mu.RUnlock()
	e, _ := c.tree.Get(&Entry{key: key})
	return e
}

func (c *Collection) decode(kv *mvccpb.KeyValue, hold bool) *Entry {
	key := string(kv.Key)
	plain, by, err := c.open(key, kv.Value)
	var obj object.Object
	if err == nil {
		obj, err = c.store.cfg.Codec.DecodeStorage(c.kind, plain)
	}
	if err != nil {
		c.undecodable(key, err)
		e := &Entry{coll: c, key: key, Revision: kv.ModRevision, size: int32(len(kv.Value)), odd: newOdd("", kv.Lease, errUndecodable(key, err))}
		if errors.Is(err, ErrUnavailable) {
			e.marks.Store(unavailable)
		}
		return e
	}
	e := c.newEntry(key, kv.ModRevision, obj, plain, by, kv.Lease)
	if c.store.cfg.Codec.StoredEarlier(c.kind, plain) {
		e.marks.Or(aged)
	}
	if hold || e.value() == nil {
		e.hold(obj)
	} else {
		e.settle()
	}
	return e
}

func (c *Collection) undecodable(key string, err error) {
	c.store.metrics.undecodable.Inc()
	c.store.log.Error("stored value cannot be decoded", "key", key, "err", err)
}

// newEntry takes the object over and sets its resourceVersion; [Entry.hold] is the caller's to call. plain is the encoded object, by names
// what it is encrypted with.
func (c *Collection) newEntry(key string, rev int64, obj object.Object, plain []byte, by string, lease int64) *Entry {
	obj.SetResourceVersion(formatRevision(rev))
	e := &Entry{Revision: rev, coll: c, key: key, index: indexValue(obj), size: int32(len(plain)), odd: newOdd(by, lease, nil)}
	if isEnvelope(plain) {
		e.setValue(plain)
	}
	return e
}

// filled makes a list the content of the cache, unless events were lost since it was begun.
func (c *Collection) filled(entries []*Entry, rev, generation int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped != nil {
		return true
	}
	if c.generation != generation {
		return false
	}
	c.newTrees()
	for _, e := range entries {
		c.insert(e)
	}
	c.last = rev
	c.snap, c.past = nil, nil
	c.window = window{oldest: rev}
	c.loading = false
	c.metrics.filled.Add(1)
	c.metrics.loaded.Add(uint64(len(entries)))
	early := c.early
	c.early = nil
	for _, r := range early {
		c.change(r)
	}
	close(c.ready)
	return true
}

// reload lists anew and ends the watchers, since events were lost.
func (c *Collection) reload() {
	c.mu.Lock()
	c.generation++
	c.early = nil
	if c.stopped != nil || c.loading {
		c.mu.Unlock()
		return
	}
	c.loading = true
	c.ready = make(chan struct{})
	c.topics.end(errHistoryLost())
	c.mu.Unlock()
	c.pending.clear()
	c.store.background(c.load)
}

// stop ends the collection's watchers and fails its readers.
// successor is the collection that has taken this one's place: a request that began before goes on there. nil: there is none, or it holds
// objects in another version, which the request would not expect.
func (c *Collection) successor() *Collection {
	c.mu.RLock()
	stopped := c.stopped
	c.mu.RUnlock()
	if stopped == nil {
		return nil
	}
	next := (*c.store.feed.colls.Load())[c.kind.StoragePrefix]
	if next == nil || next == c || next.kind.Versions[0].GroupVersion != c.kind.Versions[0].GroupVersion {
		return nil
	}
	return next
}

func (c *Collection) stop(why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped != nil {
		return
	}
	c.stopped = why
	c.topics.end(why)
	if c.loading {
		close(c.ready)
	}
	c.loading = false
}

func (c *Collection) insert(e *Entry) (old *Entry) {
	if old, _ = c.tree.ReplaceOrInsert(e); old != nil && old != e {
		old.marks.Or(superseded)
	}
	if c.byIndex != nil {
		if old != nil && old.index != e.index {
			c.byIndex.Delete(old)
		}
		c.byIndex.ReplaceOrInsert(e)
	}
	return old
}

func (c *Collection) remove(key string) (old *Entry) {
	if old, _ = c.tree.Delete(&Entry{key: key}); old == nil {
		return nil
	}
	old.marks.Or(superseded)
	if c.byIndex != nil {
		c.byIndex.Delete(old)
	}
	return old
}

// apply takes one event in. It says whether watchers are to be woken.
func (c *Collection) apply(key string, rev int64, e *Entry, at time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := received{key, rev, e, at}
	if c.loading {
		c.early = append(c.early, r)
		return false
	}
	if c.stopped != nil {
		return false
	}
	return c.change(r)
}

// change applies an event to the tree, the window and the topics. Events that the list had already are dropped.
func (c *Collection) change(r received) bool {
	if r.rev <= c.window.oldest || r.rev < c.last {
		return false
	}
	var old *Entry
	if r.entry != nil {
		old = c.insert(r.entry)
	} else if old = c.remove(r.key); old == nil {
		return false
	}
	if r.entry != nil && r.entry.unavailable() {
		go c.reload() // needs the lock
	}
	c.last = r.rev
	c.snap = nil
	ch := &change{rev: r.rev, at: r.at, old: old, new: r.entry}
	c.window.add(ch)
	c.metrics.dispatched.Add(1)
	woken := c.topics.offer(c, ch)
	if c.window.full(c.store.cfg) {
		c.cut(c.window.excess(c.store.cfg))
	}
	return woken
}

func (c *Collection) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.topics.wake()
}
