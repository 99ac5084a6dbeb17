package store

import (
	"bytes"
	"context"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"hyperkube/internal/object"
)

// Create stores a new object, which must have no resourceVersion. With a ttl it goes away by
// itself after about that time. The object belongs to the store from the call on.
func (c *Collection) Create(ctx context.Context, key object.Key, obj object.Object, ttl time.Duration) (*Entry, error) {
	if obj.GetResourceVersion() != "" {
		return nil, apierrors.NewBadRequest("resourceVersion should not be set on objects to be created")
	}
	if err := c.checkKey(key); err != nil {
		return nil, err
	}
	e, _, err := c.write(ctx, c.etcdKey(key), nil, obj, ttl, opCreate)
	if err == nil && e == nil {
		return nil, apierrors.NewAlreadyExists(c.kind.GroupResource(), key.Name)
	}
	return e, err
}

// Update reads the object, gives it to change, and stores what that returns; when another write came
// between, again. cur is nil when etcd has no object: change then makes one or gives an error. cur is shared: change returns a
// new object, or cur's own for no change. An object with a resourceVersion other than cur's is a
// conflict; one without is stored whatever there is. An object equal to the stored one is not written.
// change may be called several times and must not keep what it made. The lease of the object stays.
func (c *Collection) Update(ctx context.Context, key object.Key, change func(cur *Entry) (object.Object, error)) (*Entry, error) {
	return c.UpdateTTL(ctx, key, 0, change)
}

// UpdateTTL is Update with a new time to live when ttl is not 0.
func (c *Collection) UpdateTTL(ctx context.Context, key object.Key, ttl time.Duration, change func(cur *Entry) (object.Object, error)) (*Entry, error) {
	if err := c.checkKey(key); err != nil {
		return nil, err
	}
	st, err := c.cached(ctx, key)
	if err != nil {
		if next := c.successor(); next != nil {
			return next.UpdateTTL(ctx, key, ttl, change)
		}
		return nil, err
	}
	for {
		e, err := c.tryUpdate(ctx, key, st, ttl, change)
		if err != errAgain {
			return e, err
		}
	}
}

// errAgain says that the state was renewed and the attempt is to be made again.
var errAgain = apierrors.NewInternalError(context.Canceled)

func (c *Collection) tryUpdate(ctx context.Context, key object.Key, st *state, ttl time.Duration, change func(*Entry) (object.Object, error)) (*Entry, error) {
	if st.entry != nil && st.entry.Err() != nil {
		return nil, st.recheck(ctx, st.entry.Err())
	}
	var cur object.Object // held, so that it is the one that change gets
	var err error
	if st.entry != nil {
		if cur, err = st.entry.object(); err != nil {
			return nil, st.recheck(ctx, err)
		}
	}
	obj, err := change(st.entry)
	if err != nil {
		return nil, st.recheck(ctx, err)
	}
	if rv := obj.GetResourceVersion(); rv != "" && (cur == nil || rv != cur.GetResourceVersion()) {
		return nil, st.recheck(ctx, c.errConflict(key.Name))
	}
	if cur != nil && obj == cur {
		if !c.stale(st.entry) {
			return st.entry, st.recheck(ctx, nil)
		}
		obj = withResourceVersion(obj, "") // the cached one is shared
	}
	obj.SetResourceVersion("")
	e, now, err := c.write(ctx, st.key, st.entry, obj, ttl, opUpdate)
	switch {
	case err != nil:
		return nil, err
	case e == nil:
		st.entry, st.live = now, true
		return nil, errAgain
	case e == st.entry:
		return e, st.recheck(ctx, nil)
	}
	return e, nil
}

// Delete removes the object after check, which may be nil, agreed. The entry returned is the last state with
// the revision of the deletion.
func (c *Collection) Delete(ctx context.Context, key object.Key, check func(cur *Entry) error) (*Entry, error) {
	if err := c.checkKey(key); err != nil {
		return nil, err
	}
	st, err := c.cached(ctx, key)
	if err != nil {
		if next := c.successor(); next != nil {
			return next.Delete(ctx, key, check)
		}
		return nil, err
	}
	for {
		e, err := c.tryDelete(ctx, key, st, check)
		if err != errAgain {
			return e, err
		}
	}
}

func (c *Collection) tryDelete(ctx context.Context, key object.Key, st *state, check func(*Entry) error) (*Entry, error) {
	if st.entry == nil {
		return nil, st.recheck(ctx, c.errNotFound(key.Name))
	}
	if st.entry.Err() != nil {
		return nil, st.recheck(ctx, st.entry.Err())
	}
	if check != nil {
		if err := check(st.entry); err != nil {
			return nil, st.recheck(ctx, err)
		}
	}
	resp, err := c.txn(ctx, opDelete, st.key, st.entry.Revision, clientv3.OpDelete(st.key))
	if err != nil {
		return nil, err
	}
	if resp.Succeeded {
		return st.entry.at(resp.Header.Revision), nil
	}
	st.entry, st.live = c.answered(resp), true
	return nil, errAgain
}

// state is what a write believes to be stored. live says that etcd itself said so.
type state struct {
	c     *Collection
	key   string
	entry *Entry
	live  bool
}

func (c *Collection) cached(ctx context.Context, key object.Key) (*state, error) {
	if err := c.waitReady(ctx); err != nil {
		return nil, err
	}
	k := c.etcdKey(key)
	st := &state{c: c, key: k, entry: c.peek(k)}
	if st.entry == nil {
		// Most likely the object was made a moment ago.
		if err := st.recheck(ctx, nil); err != nil && err != errAgain {
			return nil, err
		}
	}
	return st, nil
}

// recheck decides over an outcome that rests on the cache: it stands when etcd has the same state;
// otherwise the state is renewed and the attempt made again.
func (s *state) recheck(ctx context.Context, outcome error) error {
	if s.live {
		return outcome
	}
	start := time.Now()
	resp, err := s.c.store.client.Get(ctx, s.key)
	s.c.metrics.asked(opGet, start, err)
	if err != nil {
		return errEtcd("get", s.c.kind.GroupResource(), err)
	}
	s.live = true
	var now *Entry
	if len(resp.Kvs) > 0 {
		now = s.c.known(resp.Kvs[0], true)
	}
	if now == s.entry || now != nil && s.entry != nil && now.Revision == s.entry.Revision {
		return outcome
	}
	s.entry = now
	return errAgain
}

// write stores obj in place of old (nil: none). It gives the new entry; or old when nothing changed; or no
// entry, and what there is now, when another write came first.
func (c *Collection) write(ctx context.Context, key string, old *Entry, obj object.Object, ttl time.Duration, op etcdOperation) (e, now *Entry, err error) {
	data, err := c.store.cfg.Codec.EncodeStorage(c.kind, obj)
	if err != nil {
		return nil, nil, apierrors.NewInternalError(err)
	}
	if old != nil && ttl == 0 && !c.stale(old) && c.same(old, data) {
		return old, nil, nil
	}
	value, err := c.seal(ctx, key, data)
	if err != nil {
		return nil, nil, err
	}
	lease, err := c.leaseFor(ctx, old, ttl)
	if err != nil {
		return nil, nil, err
	}
	p := c.pending.begin(key, value, obj)
	var rev int64
	if old != nil {
		rev = old.Revision
	}
	put := clientv3.OpPut(key, "", clientv3.WithLease(lease))
	put.WithValueBytes(value.data) // by the argument it would be copied
	resp, err := c.txn(ctx, op, key, rev, put)
	if err != nil || !resp.Succeeded {
		c.pending.fail(key, p)
		if err != nil {
			return nil, nil, err
		}
		return nil, c.answered(resp), nil
	}
	return c.pending.done(c, key, p, resp.Header.Revision, int64(lease)), nil, nil
}

func (c *Collection) leaseFor(ctx context.Context, old *Entry, ttl time.Duration) (clientv3.LeaseID, error) {
	if ttl > 0 {
		id, err := c.store.leases.get(ctx, ttl)
		if err != nil {
			return 0, errEtcd("lease for", c.kind.GroupResource(), err)
		}
		return id, nil
	}
	if old != nil {
		return clientv3.LeaseID(old.lease()), nil
	}
	return 0, nil
}

// same says whether data is what old is stored as.
func (c *Collection) same(old *Entry, data []byte) bool {
	if int(old.size) != len(data) {
		return false
	}
	if old.marks.Load()&exact != 0 && old.value() != nil {
		return bytes.Equal(old.value(), data)
	}
	obj, err := old.passing()
	if err != nil {
		return false
	}
	stored, err := c.store.cfg.Codec.EncodeStorage(c.kind, withResourceVersion(obj, ""))
	return err == nil && bytes.Equal(stored, data)
}

// txn does op if the key was last changed at rev (0: is not there), and reads the key otherwise.
func (c *Collection) txn(ctx context.Context, verb etcdOperation, key string, rev int64, op clientv3.Op) (*clientv3.TxnResponse, error) {
	start := time.Now()
	resp, err := c.store.client.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(key), "=", rev)).
		Then(op).
		Else(clientv3.OpGet(key)).
		Commit()
	c.metrics.asked(verb, start, err)
	if err != nil {
		return nil, errEtcd(verb.String(), c.kind.GroupResource(), err)
	}
	return resp, nil
}

// answered is the entry that a failed transaction read; nil when there is none.
func (c *Collection) answered(resp *clientv3.TxnResponse) *Entry {
	for _, r := range resp.Responses {
		if g, ok := r.Response.(*etcdserverpb.ResponseOp_ResponseRange); ok && len(g.ResponseRange.Kvs) > 0 {
			return c.known(g.ResponseRange.Kvs[0], true)
		}
	}
	return nil
}

// checkKey keeps a name from reaching outside its collection.
func (c *Collection) checkKey(k object.Key) error {
	namespaced := c.kind.Scope == object.Namespaced
	switch {
	case k.Name == "" || strings.Contains(k.Name, "/") || k.Name == "." || k.Name == "..":
		return apierrors.NewBadRequest("invalid name " + k.Name + " for " + c.kind.GroupResource().String())
	case namespaced && (k.Namespace == "" || strings.Contains(k.Namespace, "/")):
		return apierrors.NewBadRequest("invalid namespace " + k.Namespace + " for " + c.kind.GroupResource().String())
	}
	return nil
}
