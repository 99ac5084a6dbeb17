package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// feed is the one watch of etcd that keeps all collections up to date.
type feed struct {
	store  *Store
	prefix string
	// rev: every event up to it has been applied to its collection.
	rev     atomic.Int64
	started chan struct{} // closed when rev is known
	// from: it shows nothing up to here. 0 until that is known.
	from  atomic.Int64
	colls atomic.Pointer[map[string]*Collection]

	mu      sync.Mutex
	waiters map[*revWaiter]struct{}
	waiting atomic.Int32

	ask questions
}

type revWaiter struct {
	rev int64
	ch  chan struct{}
}

func newFeed(s *Store) *feed {
	f := &feed{store: s, prefix: s.cfg.Prefix, started: make(chan struct{}), waiters: map[*revWaiter]struct{}{}}
	f.setCollections(nil)
	return f
}

// setCollections publishes a copy of the map, which the feed reads without a lock.
func (f *feed) setCollections(m map[string]*Collection) {
	cp := make(map[string]*Collection, len(m))
	for k, v := range m {
		cp[k] = v
	}
	f.colls.Store(&cp)
}

func (f *feed) run(ctx context.Context) {
	retry := newBackoff()
	rev := f.begin(ctx, retry)
	if ctx.Err() != nil {
		return
	}
	f.rev.Store(rev)
	f.from.Store(rev)
	for _, c := range *f.colls.Load() {
		c.pending.settle(rev)
	}
	close(f.started)
	for ctx.Err() == nil {
		before := f.rev.Load()
		err := f.watch(ctx, before+1)
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, rpctypes.ErrCompacted) {
			f.startOver(ctx, retry)
			continue
		}
		if f.rev.Load() > before {
			retry.reset()
		}
		f.store.log.Warn("watch of etcd broke, resuming", "revision", f.rev.Load(), "err", err)
		retry.wait(ctx)
	}
}

// begin learns etcd's newest revision, however long that takes.
func (f *feed) begin(ctx context.Context, retry *backoff) int64 {
	for {
		rev, err := f.newest(ctx)
		if err == nil {
			retry.reset()
			return rev
		}
		if ctx.Err() != nil {
			return 0
		}
		f.store.log.Warn("etcd does not answer", "err", err)
		retry.wait(ctx)
	}
}

// startOver lists every collection anew: etcd no longer has the events since the last one seen.
func (f *feed) startOver(ctx context.Context, retry *backoff) {
	rev := f.begin(ctx, retry)
	if ctx.Err() != nil {
		return
	}
	f.store.log.Warn("history was compacted while the watch of etcd was down, listing anew", "seen", f.rev.Load(), "newest", rev)
	for _, c := range *f.colls.Load() {
		c.reload()
	}
	f.advance(rev)
}

func (f *feed) newest(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	resp, err := f.store.client.Get(ctx, f.prefix+"health", clientv3.WithCountOnly())
	if err != nil {
		return 0, err
	}
	return resp.Header.Revision, nil
}

func (f *feed) watch(ctx context.Context, from int64) error {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	ch := f.store.client.Watch(ctx, f.prefix, clientv3.WithPrefix(), clientv3.WithRev(from), clientv3.WithFragment(),
		clientv3.WithProgressNotify())
	for resp := range ch {
		if err := resp.Err(); err != nil {
			return err
		}
		if resp.IsProgressNotify() {
			f.advance(resp.Header.Revision)
			continue
		}
		f.apply(resp.Events)
	}
	return errors.New("watch channel closed")
}

func (f *feed) apply(events []*clientv3.Event) {
	if len(events) == 0 {
		return
	}
	now := time.Now()
	var touched []*Collection
	for _, ev := range events {
		c := f.collection(ev.Kv.Key)
		if c == nil {
			continue
		}
		c.metrics.received.Add(1)
		var e *Entry
		if ev.Type == mvccpb.PUT {
			e = c.received(ev.Kv)
		}
		if c.apply(string(ev.Kv.Key), ev.Kv.ModRevision, e, now) {
			touched = append(touched, c)
		}
	}
	f.advance(events[len(events)-1].Kv.ModRevision)
	for _, c := range touched {
		c.wake()
	}
}

// advance says that everything up to rev has been applied.
func (f *feed) advance(rev int64) {
	if rev <= f.rev.Load() {
		return
	}
	f.rev.Store(rev)
	if f.waiting.Load() == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for w := range f.waiters {
		if w.rev <= rev {
			close(w.ch)
			delete(f.waiters, w)
			f.waiting.Add(-1)
		}
	}
}

// collection finds whose key it is: a storage prefix has one or two segments.
func (f *feed) collection(key []byte) *Collection {
	if len(key) <= len(f.prefix) {
		return nil
	}
	colls := *f.colls.Load()
	rest := key[len(f.prefix):]
	segments := 0
	for i, b := range rest {
		if b != '/' {
			continue
		}
		if c := colls[string(rest[:i])]; c != nil {
			return c
		}
		if segments++; segments == 2 {
			return nil
		}
	}
	return nil
}

// wait blocks until the caches have reached rev. When no event brings them there (the revision was
// made by a write elsewhere in etcd) it asks etcd for its progress.
func (f *feed) wait(ctx context.Context, rev int64) error {
	if f.rev.Load() >= rev {
		return nil
	}
	w := &revWaiter{rev, make(chan struct{})}
	f.mu.Lock()
	f.waiters[w] = struct{}{}
	f.waiting.Add(1)
	f.mu.Unlock()
	defer f.forget(w)
	if f.rev.Load() >= rev {
		return nil
	}
	nudge := time.NewTimer(5 * time.Millisecond)
	defer nudge.Stop()
	for {
		select {
		case <-w.ch:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-f.store.ctx.Done():
			return errStoreClosed()
		case <-nudge.C:
			if err := f.store.client.RequestProgress(clientv3.WithRequireLeader(f.store.ctx)); err != nil {
				f.store.log.Debug("progress of etcd's watch could not be asked for", "err", err)
			}
			nudge.Reset(100 * time.Millisecond)
		}
	}
}

func (f *feed) forget(w *revWaiter) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.waiters[w]; ok {
		delete(f.waiters, w)
		f.waiting.Add(-1)
	}
}

// fresh learns etcd's newest revision and waits until the caches have reached it.
func (f *feed) fresh(ctx context.Context) (int64, error) {
	select {
	case <-f.started:
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-f.store.ctx.Done():
		return 0, errStoreClosed()
	}
	rev, err := f.ask.newest(ctx, f)
	if err != nil {
		return 0, err
	}
	return rev, f.wait(ctx, rev)
}

// questions shares one question for the newest revision among all who asked before it was put to etcd.
type questions struct {
	mu      sync.Mutex
	next    *question
	running bool
}

type question struct {
	done chan struct{}
	rev  int64
	err  error
}

func (q *questions) newest(ctx context.Context, f *feed) (int64, error) {
	q.mu.Lock()
	if q.next == nil {
		q.next = &question{done: make(chan struct{})}
	}
	mine := q.next
	if !q.running {
		q.running = true
		go q.answer(f)
	}
	q.mu.Unlock()
	select {
	case <-mine.done:
		if mine.err != nil {
			return 0, fmt.Errorf("read the newest revision of etcd: %w", mine.err)
		}
		return mine.rev, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

func (q *questions) answer(f *feed) {
	for {
		q.mu.Lock()
		now := q.next
		q.next = nil
		if now == nil {
			q.running = false
			q.mu.Unlock()
			return
		}
		q.mu.Unlock()
		now.rev, now.err = f.newest(f.store.ctx)
		close(now.done)
	}
}

// backoff waits 50 ms, doubling to 5 s.
type backoff struct{ next time.Duration }

func newBackoff() *backoff { return &backoff{next: 50 * time.Millisecond} }

func (b *backoff) reset() { b.next = 50 * time.Millisecond }

func (b *backoff) wait(ctx context.Context) {
	t := time.NewTimer(b.next)
	defer t.Stop()
	b.next = min(2*b.next, 5*time.Second)
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
