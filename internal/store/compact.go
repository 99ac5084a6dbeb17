package store

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// compactKey is upstream's, so that API servers of both kinds agree on who compacts.
const compactKey = "compact_rev_key"

// compactor removes history. Each interval one of all API servers, whichever raises the version of the key first,
// compacts to the revision that was the newest an interval ago.
type compactor struct {
	client   *clientv3.Client
	interval time.Duration
	metrics  *metrics
	log      *slog.Logger

	version int64 // of compactKey, as last seen
	rev     int64 // newest revision at that time
	// compacted is the revision to which history is known to be compacted, by this API server or another.
	compacted atomic.Int64
}

func newCompactor(c *clientv3.Client, interval time.Duration, m *metrics, log *slog.Logger) *compactor {
	return &compactor{client: c, interval: interval, metrics: m, log: log}
}

func (c *compactor) run(ctx context.Context) {
	t := time.NewTicker(c.interval)
	defer t.Stop()
	for {
		if err := c.step(ctx); err != nil && ctx.Err() == nil {
			c.log.Warn("history could not be compacted", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

func (c *compactor) step(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	resp, err := c.client.Txn(ctx).
		If(clientv3.Compare(clientv3.Version(compactKey), "=", c.version)).
		Then(clientv3.OpPut(compactKey, strconv.FormatInt(c.rev, 10))).
		Else(clientv3.OpGet(compactKey)).
		Commit()
	if err != nil {
		return err
	}
	target := c.rev
	c.rev = resp.Header.Revision
	if !resp.Succeeded {
		// Another API server was first; or this one has just started.
		if kvs := resp.Responses[0].GetResponseRange().GetKvs(); len(kvs) > 0 {
			c.version = kvs[0].Version
			c.others(kvs[0].Value)
		} else {
			c.version = 0
		}
		return nil
	}
	c.version++
	if target == 0 {
		return nil
	}
	_, err = c.client.Compact(ctx, target)
	if errors.Is(err, rpctypes.ErrCompacted) {
		err = nil
	}
	if err == nil {
		c.compacted.Store(max(target, c.compacted.Load()))
		c.metrics.compactions.Inc()
		c.log.Debug("history compacted", "revision", target)
	}
	return err
}

// others reads to where another API server has compacted.
func (c *compactor) others(value []byte) {
	if rev, err := strconv.ParseInt(string(value), 10, 64); err == nil {
		c.compacted.Store(max(rev, c.compacted.Load()))
	}
}
