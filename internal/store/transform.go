package store

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Transformer changes encoded values on their way to etcd and back: it encrypts them. Safe for concurrent use.
type Transformer interface {
	// Seal gives what to store under a key of etcd, and a name for what it was made with. plain is not changed.
	Seal(ctx context.Context, gr schema.GroupResource, key string, plain []byte) (stored []byte, by string, err error)
	// Open is the way back. An error that may go away by itself wraps [ErrUnavailable].
	Open(ctx context.Context, gr schema.GroupResource, key string, stored []byte) (plain []byte, by string, err error)
	// Current is the name of what Seal makes values with now. A value with another name is stale.
	Current(gr schema.GroupResource) string
}

// ErrUnavailable says that a value cannot be read now, though later perhaps.
var ErrUnavailable = errors.New("the key is not available now")

// sealed is a value as it is stored.
type sealed struct {
	data  []byte
	plain []byte // before encryption
	by    string
}

func (c *Collection) seal(ctx context.Context, key string, plain []byte) (sealed, error) {
	t := c.store.cfg.Transformer
	if t == nil {
		return sealed{data: plain, plain: plain}, nil
	}
	data, by, err := t.Seal(ctx, c.kind.GroupResource(), key, plain)
	if err != nil {
		return sealed{}, apierrors.NewInternalError(fmt.Errorf("%s cannot be stored: %w", c.kind.GroupResource(), err))
	}
	return sealed{data: data, plain: plain, by: by}, nil
}

func (c *Collection) open(key string, stored []byte) ([]byte, string, error) {
	t := c.store.cfg.Transformer
	if t == nil {
		return stored, "", nil
	}
	return t.Open(c.store.ctx, c.kind.GroupResource(), key, stored)
}

// stale says whether a value should be written anew for the way in which it is stored.
func (c *Collection) stale(e *Entry) bool {
	t := c.store.cfg.Transformer
	return e.marks.Load()&aged != 0 || t != nil && e.by() != t.Current(c.kind.GroupResource())
}

// Reread lists those collections anew that hold values which could not be read: the transformer knows more keys now.
func (s *Store) Reread() {
	for _, c := range *s.feed.colls.Load() {
		if c.broken() {
			c.reload()
		}
	}
}

func (c *Collection) broken() bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	found := false
	c.tree.Ascend(func(e *Entry) bool {
		found = e.Err() != nil
		return !found
	})
	return found
}
