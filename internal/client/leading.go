package client

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	coordv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// Leading says who is elected for what. The times default to 15, 10 and 2 seconds.
type Leading struct {
	Namespace, Name string // of the Lease
	Identity        string // of this candidate, unique among them
	LeaseDuration   time.Duration
	RenewDeadline   time.Duration
	RetryPeriod     time.Duration
}

// RunLeading runs f while this process leads: it waits to be elected, calls f, and returns
// when ctx ends (nil) or the lead was lost (an error; f's context has ended then, and
// whoever called may try again). The lease is given up at the end, so that another follows at once.
func RunLeading(ctx context.Context, c Interface, l Leading, f func(context.Context)) error {
	orDefault(&l.LeaseDuration, 15*time.Second)
	orDefault(&l.RenewDeadline, 10*time.Second)
	orDefault(&l.RetryPeriod, 2*time.Second)
	lead, done := context.WithCancel(ctx)
	defer done()
	finished := make(chan struct{})
	lock := &leaseLock{c: c, namespace: l.Namespace, name: l.Name, identity: l.Identity}
	e, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock:          lock,
		LeaseDuration: l.LeaseDuration,
		RenewDeadline: l.RenewDeadline,
		RetryPeriod:   l.RetryPeriod,
		Name:          l.Name,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(ctx context.Context) {
				defer close(finished)
				slog.Default().Info("leading", "component", l.Name, "identity", l.Identity)
				f(ctx)
			},
			OnStoppedLeading: func() {},
		},
	})
	if err != nil {
		return fmt.Errorf("leader election of %s: %w", l.Name, err)
	}
	e.Run(lead)
	if lock.held {
		<-finished
	}
	if ctx.Err() != nil {
		lock.release()
		return nil
	}
	return fmt.Errorf("leader election of %s: the lease was lost", l.Name)
}

func orDefault(d *time.Duration, v time.Duration) {
	if *d == 0 {
		*d = v
	}
}

// leaseLock keeps the record of an election in a Lease.
type leaseLock struct {
	c                         Interface
	namespace, name, identity string
	last                      *coordv1.Lease
	held                      bool // this candidate has been written as the holder
}

func (k *leaseLock) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	lease, err := Leases.Get(ctx, k.c, k.namespace, k.name)
	if err != nil {
		return nil, nil, err
	}
	k.last = lease
	r := resourcelock.LeaseSpecToLeaderElectionRecord(&lease.Spec)
	return r, []byte(lease.ResourceVersion), nil
}

func (k *leaseLock) Create(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	lease, err := Leases.Create(ctx, k.c, &coordv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: k.namespace, Name: k.name},
		Spec:       resourcelock.LeaderElectionRecordToLeaseSpec(&r),
	})
	if err == nil {
		k.last, k.held = lease, true
	}
	return err
}

func (k *leaseLock) Update(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	if k.last == nil {
		return fmt.Errorf("lease %s/%s was not read before it is written", k.namespace, k.name)
	}
	next := k.last.DeepCopy()
	next.Spec = resourcelock.LeaderElectionRecordToLeaseSpec(&r)
	lease, err := Leases.Update(ctx, k.c, next)
	if err == nil {
		k.last, k.held = lease, true
	}
	return err
}

// release lets another candidate follow at once. It is called when the work has ended, never before, so
// that no two of them work at a time.
func (k *leaseLock) release() {
	if !k.held {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	next := k.last.DeepCopy()
	none, second := "", int32(1)
	next.Spec.HolderIdentity, next.Spec.LeaseDurationSeconds = &none, &second
	if _, err := Leases.Update(ctx, k.c, next); err != nil {
		slog.Default().Debug("lease not released", "component", k.name, "error", err)
	}
}

func (k *leaseLock) RecordEvent(string) {}
func (k *leaseLock) Identity() string   { return k.identity }
func (k *leaseLock) Describe() string   { return k.namespace + "/" + k.name }
