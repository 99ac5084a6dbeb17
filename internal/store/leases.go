package store

import (
	"context"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// leases shares one lease of etcd among objects that are to go away at about the same time.
type leases struct {
	client *clientv3.Client
	mu     sync.Mutex
	byTTL  map[time.Duration]*sharedLease
}

type sharedLease struct {
	id    clientv3.LeaseID
	until time.Time
	uses  int
}

const leaseUses = 1000

func newLeases(c *clientv3.Client) *leases {
	return &leases{client: c, byTTL: map[time.Duration]*sharedLease{}}
}

// get gives a lease that ends after ttl, or up to a minute (or a twentieth of ttl, if less) later.
func (l *leases) get(ctx context.Context, ttl time.Duration) (clientv3.LeaseID, error) {
	share := max(time.Second, min(time.Minute, ttl/20))
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if s := l.byTTL[ttl]; s != nil && now.Before(s.until) && s.uses < leaseUses {
		s.uses++
		return s.id, nil
	}
	resp, err := l.client.Grant(ctx, int64((ttl+share+time.Second-1)/time.Second))
	if err != nil {
		return 0, err
	}
	l.byTTL[ttl] = &sharedLease{id: resp.ID, until: now.Add(share), uses: 1}
	return resp.ID, nil
}
