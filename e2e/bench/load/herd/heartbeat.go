package herd

import (
	"context"
	"sync"
	"time"

	coordv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"hyperkube/e2e/bench/load"
)

// beat is one thing that is due for one node.
type beat struct {
	node *node
	due  time.Time
	do   func(ctx context.Context, a *load.API, n *node)
}

// due is when the k-th of the beats of n nodes comes after the first: every node has one in each interval, at equal distances.
func due(k, n int, interval time.Duration) time.Duration {
	return time.Duration(k/n)*interval + time.Duration(int64(k%n)*int64(interval)/int64(n))
}

// heartbeats renews leases and reports conditions until ctx ends.
func (h *Herd) heartbeats(ctx context.Context) {
	beats := make(chan beat)
	var wg sync.WaitGroup
	wg.Go(func() { h.tick(ctx, h.options.Renew, beats, h.renew) })
	wg.Go(func() { h.tick(ctx, h.options.Report, beats, h.report) })
	for _, a := range h.hands() {
		wg.Go(func() {
			for {
				select {
				case b := <-beats:
					h.beat(ctx, a, b)
				case <-ctx.Done():
					return
				}
			}
		})
	}
	wg.Wait()
}

// tick says when what is due.
func (h *Herd) tick(ctx context.Context, interval time.Duration, beats chan<- beat, do func(context.Context, *load.API, *node)) {
	began := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for k := 0; ; k++ {
		at := began.Add(due(k, len(h.nodes), interval))
		timer.Reset(time.Until(at))
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		select {
		case beats <- beat{h.nodes[k%len(h.nodes)], at, do}:
		case <-ctx.Done():
			return
		}
	}
}

func (h *Herd) beat(ctx context.Context, a *load.API, b beat) {
	b.node.mu.Lock()
	defer b.node.mu.Unlock()
	if b.node.lease == nil {
		return // not registered yet
	}
	h.counts.late(time.Since(b.due))
	ctx, cancel := context.WithTimeout(h.as(ctx, b.node), request)
	defer cancel()
	b.do(ctx, a, b.node)
}

func (h *Herd) renew(ctx context.Context, a *load.API, n *node) {
	next := n.lease.DeepCopy()
	next.Spec.RenewTime = micro(time.Now())
	got, err := renewOrMake(ctx, a, next)
	if err != nil {
		h.counts.fail(ctx, "renewing a lease", err)
		return
	}
	n.lease = got
	h.counts.renewed.Add(1)
}

// renewOrMake writes a lease: one that is there by its version, one that is not anew, and one that another has written
// meanwhile over what that has made of it.
func renewOrMake(ctx context.Context, a *load.API, l *coordv1.Lease) (*coordv1.Lease, error) {
	got := new(coordv1.Lease)
	if l.ResourceVersion != "" {
		err := a.UpdateInto(ctx, load.Leases, l.Namespace, l.Name, l, got)
		if apierrors.IsConflict(err) {
			return overwrite(ctx, a, l)
		}
		if !apierrors.IsNotFound(err) {
			return got, err
		}
		l = l.DeepCopy()
		l.ResourceVersion, l.UID = "", ""
	}
	err := a.CreateInto(ctx, load.Leases, l.Namespace, l, got)
	if apierrors.IsAlreadyExists(err) {
		return overwrite(ctx, a, l)
	}
	return got, err
}

func overwrite(ctx context.Context, a *load.API, l *coordv1.Lease) (*coordv1.Lease, error) {
	have, got := new(coordv1.Lease), new(coordv1.Lease)
	if err := a.Get(ctx, load.Leases, l.Namespace, l.Name, have); err != nil {
		return nil, err
	}
	have.Spec = l.Spec
	return got, a.UpdateInto(ctx, load.Leases, l.Namespace, l.Name, have, got)
}

func (h *Herd) report(ctx context.Context, a *load.API, n *node) {
	if err := a.Patch(ctx, load.Nodes, "", n.name, "status", types.StrategicMergePatchType, report(time.Now(), n.since)); err != nil {
		h.counts.fail(ctx, "reporting a node's conditions", err)
		return
	}
	h.counts.reported.Add(1)
}

// lease is a node's first.
func lease(n *corev1.Node, now time.Time) *coordv1.Lease {
	seconds := int32(leaseDuration / time.Second)
	l := &coordv1.Lease{Spec: coordv1.LeaseSpec{HolderIdentity: &n.Name, LeaseDurationSeconds: &seconds, RenewTime: micro(now)}}
	l.Namespace, l.Name = corev1.NamespaceNodeLease, n.Name
	l.OwnerReferences = owner(n)
	return l
}
