package store

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"hyperkube/internal/object"
)

// DeleteUnreadable removes a stored value that cannot be decoded, or decrypted, without looking at what keeps the object: nobody can. A value
// that can be read is a conflict. With dryRun everything is judged and nothing removed.
func (c *Collection) DeleteUnreadable(ctx context.Context, key object.Key, dryRun bool) error {
	if err := c.checkKey(key); err != nil {
		return err
	}
	k := c.etcdKey(key)
	for {
		start := time.Now()
		resp, err := c.store.client.Get(ctx, k)
		c.metrics.asked(opGet, start, err)
		switch {
		case err != nil:
			return errEtcd("get", c.kind.GroupResource(), err)
		case len(resp.Kvs) == 0:
			return c.errNotFound(key.Name)
		}
		e := c.decode(resp.Kvs[0], false)
		switch {
		case e.Err() == nil:
			return apierrors.NewConflict(c.kind.GroupResource(), key.Name, fmt.Errorf("StorageError: invalid object, Code: 4, Key: %s, "+
				"ResourceVersion: 0, AdditionalErrorMsg: unsafe deletion is not allowed because the object is decodable from storage", k))
		case e.unavailable(): // who decrypts does not answer: that may pass
			return e.Err()
		case dryRun:
			return nil
		}
		gone, err := c.txn(ctx, opDelete, k, e.Revision, clientv3.OpDelete(k))
		if err != nil || gone.Succeeded {
			return err
		}
	}
}
