package store

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/google/btree"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"

	"hyperkube/internal/object"
)

// ListOptions say what to list, and at which state.
type ListOptions struct {
	Namespace, Name string // empty: all
	Label           labels.Selector
	Field           fields.Selector
	// ResourceVersion and Match as the API concepts say: "" the newest state, "0" any, else not
	// older than or exactly this one.
	ResourceVersion string
	Match           metav1.ResourceVersionMatch
	// Limit of entries in a page; 0: no limit.
	Limit int64
	// Continue token of the page before.
	Continue string
}

// Page is a part of a list, in the order of keys.
type Page struct {
	// Entries may be shared with other pages and must not be changed.
	Entries []*Entry
	// Revision that the list shows.
	Revision int64
	// Continue is the token of the next page; empty at the end.
	Continue string
	// Remaining is how many entries come after this page; nil at the end and with selectors.
	Remaining *int64

	shared *sharedItems // with other pages of the same entries; nil: with none
}

// Get reads one object: with rv "" at the newest state, with "0" at any, else not older than rv.
func (c *Collection) Get(ctx context.Context, key object.Key, rv string) (*Entry, error) {
	if err := c.readable(ctx, rv); err != nil {
		if next := c.successor(); next != nil {
			return next.Get(ctx, key, rv)
		}
		return nil, err
	}
	e := c.peek(c.etcdKey(key))
	if e == nil {
		return nil, c.errNotFound(key.Name)
	}
	return e, e.Err()
}

// readable waits until the cache may answer a read at rv or newer.
func (c *Collection) readable(ctx context.Context, rv string) error {
	rev, err := parseRevision(rv)
	if err != nil {
		return errBadVersion(rv, err) // no error of the API: a 500
	}
	switch {
	case rv == "":
		start := time.Now()
		_, err = c.store.feed.fresh(ctx)
		c.metrics.waited(start, err)
	case rev > 0:
		err = c.reach(ctx, rev)
	}
	if err != nil {
		return err
	}
	return c.waitReady(ctx)
}

// reach waits a while for a revision that a client says it has seen.
func (c *Collection) reach(ctx context.Context, rev int64) error {
	if c.store.feed.rev.Load() >= rev {
		return nil
	}
	short, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	err := c.store.feed.wait(short, rev)
	if err != nil && ctx.Err() == nil && short.Err() != nil {
		return errTooLarge(rev, c.store.feed.rev.Load())
	}
	return err
}

// List gives a page of the objects that the options select.
func (c *Collection) List(ctx context.Context, o ListOptions) (*Page, error) {
	p, err := c.list(ctx, o)
	if err != nil {
		if next := c.successor(); next != nil {
			return next.List(ctx, o)
		}
	}
	return p, err
}

func (c *Collection) list(ctx context.Context, o ListOptions) (*Page, error) {
	sel := newSelector(c.kind, o.Namespace, o.Name, o.Label, o.Field)
	if o.Continue != "" {
		return c.listOn(ctx, o, &sel)
	}
	rev, err := parseRevision(o.ResourceVersion)
	if err != nil {
		return nil, apierrors.NewBadRequest("invalid resource version: " + errBadVersion(o.ResourceVersion, err).Error())
	}
	exact := o.Match == metav1.ResourceVersionMatchExact || o.Match == "" && o.Limit > 0
	if exact && rev > 0 {
		return c.listAt(ctx, rev, "", o, &sel)
	}
	if err := c.readable(ctx, o.ResourceVersion); err != nil {
		return nil, err
	}
	return c.listNow("", o, &sel)
}

// listOn gives the page after the one that made the token.
func (c *Collection) listOn(ctx context.Context, o ListOptions, sel *selector) (*Page, error) {
	rev, start, err := decodeContinue(o.Continue, c.listPrefix(sel))
	if err != nil {
		return nil, apierrors.NewBadRequest("invalid continue token: " + err.Error())
	}
	if o.ResourceVersion != "" && o.ResourceVersion != "0" {
		return nil, apierrors.NewBadRequest("specifying resource version is not allowed when using continue")
	}
	if rev > 0 {
		return c.listAt(ctx, rev, start, o, sel)
	}
	if err := c.readable(ctx, ""); err != nil {
		return nil, err
	}
	return c.listNow(start, o, sel)
}

func (c *Collection) listNow(start string, o ListOptions, sel *selector) (*Page, error) {
	c.mu.Lock()
	if c.stopped != nil {
		c.mu.Unlock()
		return nil, c.stopped
	}
	s := c.snapshot()
	// While events are missing there is nothing to count from.
	if start != "" || o.Limit > 0 || !sel.remembers() || c.loading {
		c.mu.Unlock()
		return c.listed(fromCache)(s.page(c, start, o.Limit, sel))
	}
	id, now := sel.id(), c.moment()
	before, changes := c.since(id)
	c.mu.Unlock()
	var p *Page
	if before != nil {
		p = before.pageAt(s.rev, changes, sel)
	}
	if p == nil {
		var err error
		if p, err = s.page(c, "", 0, sel); err != nil {
			return nil, err
		}
	}
	if s.tree.Len() >= rememberFrom && (before == nil || before.at != now) {
		if p.shared == nil {
			p.shared = &sharedItems{}
		}
		c.remembered.put(&listed{id, now, p.Entries, p.shared})
	}
	return c.listed(fromCache)(p, nil)
}

// listAt lists one revision: from the cache while its window reaches back so far, else from etcd.
func (c *Collection) listAt(ctx context.Context, rev int64, start string, o ListOptions, sel *selector) (*Page, error) {
	if err := c.reach(ctx, rev); err != nil {
		return nil, err
	}
	if err := c.waitReady(ctx); err != nil {
		return nil, err
	}
	// Clients may count on old revisions going away, also of kinds of which nothing changed since.
	if rev < c.store.compact.compacted.Load() {
		return nil, c.expired(start, o, sel)
	}
	c.mu.Lock()
	s := c.stateAt(rev)
	c.mu.Unlock()
	if s != nil {
		return c.listed(fromCache)(s.page(c, start, o.Limit, sel))
	}
	c.store.metrics.etcdLists.Inc()
	p, err := c.listed(fromEtcd)(c.listEtcd(ctx, rev, start, o.Limit, sel))
	if errors.Is(err, rpctypes.ErrCompacted) {
		return nil, c.expired(start, o, sel)
	}
	if errors.Is(err, rpctypes.ErrFutureRev) {
		return nil, errTooLarge(rev, c.store.feed.rev.Load())
	}
	return p, err
}

// expired says that a revision is gone, with a way on where there is one.
func (c *Collection) expired(start string, o ListOptions, sel *selector) error {
	if o.Continue == "" {
		return errListExpired()
	}
	return errContinueExpired(encodeContinue(-1, start, c.listPrefix(sel)))
}

// listPrefix is what keys of a list begin with; continue tokens leave it out.
func (c *Collection) listPrefix(sel *selector) string {
	if c.kind.Scope == object.Namespaced && sel.namespace != "" {
		return c.prefix + sel.namespace + "/"
	}
	return c.prefix
}

// snapshot is the state of a collection at one revision. It never changes.
type snapshot struct {
	c       *Collection
	rev     int64
	tree    *btree.BTreeG[*Entry]
	byIndex *btree.BTreeG[*Entry]
}

// revision of the present state: everything up to it is in the tree, nothing after it. Needs the lock.
func (c *Collection) revision() int64 { return max(c.last, c.store.feed.rev.Load()) }

// snapshot is the present state. Needs the lock for writing. The clone costs nothing; later changes copy the
// nodes on their path once.
func (c *Collection) snapshot() *snapshot {
	rev := c.revision()
	if c.snap == nil {
		c.snap = &snapshot{c: c, tree: c.tree.Clone()}
		if c.byIndex != nil {
			c.snap.byIndex = c.byIndex.Clone()
		}
	}
	if c.snap.rev != rev {
		s := *c.snap
		s.rev = rev
		c.snap = &s
	}
	return c.snap
}

// stateAt is the state at a revision in the past, made by undoing the changes since; nil when
// the window does not reach back so far. Needs the lock for writing.
func (c *Collection) stateAt(rev int64) *snapshot {
	if rev < c.window.oldest || c.loading {
		return nil
	}
	if rev >= c.last {
		s := *c.snapshot()
		s.rev = rev
		return &s
	}
	for _, s := range c.past {
		if s.rev == rev {
			return s
		}
	}
	s := &snapshot{c: c, rev: rev, tree: c.tree.Clone()}
	undo := c.window.after(rev)
	for i := len(undo) - 1; i >= 0; i-- {
		if ch := undo[i]; ch.old != nil {
			s.tree.ReplaceOrInsert(ch.old)
		} else {
			s.tree.Delete(ch.new)
		}
	}
	const keep = 4
	if len(c.past) >= keep {
		c.past = append([]*snapshot(nil), c.past[1:]...)
	}
	c.past = append(c.past, s)
	return s
}

// ascend visits the entries that may match, from a key on, in the order of keys. The selector is still to be asked.
func (s *snapshot) ascend(sel *selector, start string, visit func(*Entry) bool) {
	prefix := s.c.listPrefix(sel)
	if sel.name != "" && (sel.namespace != "" || s.c.kind.Scope == object.Cluster) {
		key := prefix + sel.name
		if e, ok := s.tree.Get(&Entry{key: key}); ok && key >= start {
			visit(e)
		}
		return
	}
	within := func(e *Entry) bool { return strings.HasPrefix(e.key, prefix) && visit(e) }
	from := &Entry{key: max(prefix, start)}
	if sel.indexed && s.byIndex != nil {
		from.index = sel.index
		s.byIndex.AscendGreaterOrEqual(from, func(e *Entry) bool { return e.index == sel.index && within(e) })
		return
	}
	s.tree.AscendGreaterOrEqual(from, within)
}

func (s *snapshot) page(c *Collection, start string, limit int64, sel *selector) (*Page, error) {
	p := &Page{Revision: s.rev}
	all := sel.all()
	if limit == 0 && all && sel.namespace == "" {
		p.Entries = make([]*Entry, 0, s.tree.Len())
	}
	if err := sel.convert(func(visit func(*Entry) bool) { s.ascend(sel, start, visit) }); err != nil {
		return nil, err
	}
	var failed error
	var more int64
	s.ascend(sel, start, func(e *Entry) bool {
		if limit > 0 && int64(len(p.Entries)) == limit {
			if all || sel.matches(e) {
				more++
			}
			return all || more == 0
		}
		if e.Err() != nil {
			failed = e.Err()
			return false
		}
		if all || sel.matches(e) {
			p.Entries = append(p.Entries, e)
		}
		return true
	})
	if failed != nil {
		return nil, failed
	}
	p.finish(c, sel, more)
	return p, nil
}

// finish sets the token and the rest of a page after which more entries come.
func (p *Page) finish(c *Collection, sel *selector, more int64) {
	if more == 0 || len(p.Entries) == 0 {
		return
	}
	last := p.Entries[len(p.Entries)-1].key
	p.Continue = encodeContinue(p.Revision, last+"\x00", c.listPrefix(sel))
	if sel.all() {
		p.Remaining = &more
	}
}

// listEtcd reads a page at a revision of which the cache knows no more.
func (c *Collection) listEtcd(ctx context.Context, rev int64, start string, limit int64, sel *selector) (*Page, error) {
	const chunk = 500
	p := &Page{Revision: rev}
	prefix := c.listPrefix(sel)
	end := clientv3.GetPrefixRangeEnd(prefix)
	from := max(prefix, start)
	for {
		asked := time.Now()
		resp, err := c.store.client.Get(ctx, from, clientv3.WithRange(end), clientv3.WithRev(rev), clientv3.WithLimit(chunk))
		c.metrics.asked(opList, asked, err)
		if err != nil {
			if errors.Is(err, rpctypes.ErrCompacted) || errors.Is(err, rpctypes.ErrFutureRev) {
				return nil, err
			}
			return nil, errEtcd("list", c.kind.GroupResource(), err)
		}
		entries := make([]*Entry, len(resp.Kvs))
		for i, kv := range resp.Kvs {
			if entries[i] = c.known(kv, false); entries[i].Err() != nil {
				return nil, entries[i].Err()
			}
		}
		if err := sel.convert(func(visit func(*Entry) bool) {
			for _, e := range entries {
				visit(e)
			}
		}); err != nil {
			return nil, err
		}
		for i, e := range entries {
			if !sel.matches(e) {
				continue
			}
			if limit > 0 && int64(len(p.Entries)) == limit {
				p.finish(c, sel, resp.Count-int64(i))
				return p, nil
			}
			p.Entries = append(p.Entries, e)
		}
		if !resp.More {
			return p, nil
		}
		from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
}
