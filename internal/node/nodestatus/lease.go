package nodestatus

import (
	"context"
	"time"

	coordv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/client"
)

// renew keeps the node's lease in kube-node-lease, by which controllers know that the node is alive.
func (m *Manager) renew(ctx context.Context) {
	every := time.Duration(m.cfg.LeaseDuration) * time.Second / 4
	retry := 200 * time.Millisecond
	var lease *coordv1.Lease
	for ctx.Err() == nil {
		next, err := m.renewOnce(ctx, lease)
		wait := every
		if err != nil {
			if ctx.Err() == nil && !apierrors.IsNotFound(err) {
				m.log.Info("node lease not renewed", "error", err, "retryIn", retry)
			}
			next, wait = nil, retry
			retry = min(2*retry, 7*time.Second)
		} else {
			retry = 200 * time.Millisecond
		}
		lease = next
		client.Wait(ctx, m.cfg.Client, wait)
	}
}

func (m *Manager) renewOnce(ctx context.Context, lease *coordv1.Lease) (*coordv1.Lease, error) {
	now := metav1.NewMicroTime(m.cfg.Now())
	if lease == nil {
		got, err := client.Leases.Get(ctx, m.cfg.Client, corev1.NamespaceNodeLease, m.cfg.Name)
		if apierrors.IsNotFound(err) {
			return m.createLease(ctx, now)
		}
		if err != nil {
			return nil, err
		}
		lease = got
	}
	next := lease.DeepCopy()
	next.Spec.RenewTime = &now
	next.Spec.HolderIdentity, next.Spec.LeaseDurationSeconds = &m.cfg.Name, &m.cfg.LeaseDuration
	return client.Leases.Update(ctx, m.cfg.Client, next)
}

func (m *Manager) createLease(ctx context.Context, now metav1.MicroTime) (*coordv1.Lease, error) {
	node, err := client.Nodes.Get(ctx, m.cfg.Client, "", m.cfg.Name)
	if err != nil {
		return nil, err // the lease belongs to the node, which is about to be registered
	}
	return client.Leases.Create(ctx, m.cfg.Client, &coordv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: m.cfg.Name, Namespace: corev1.NamespaceNodeLease,
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: node.Name, UID: node.UID}}},
		Spec: coordv1.LeaseSpec{HolderIdentity: &m.cfg.Name, LeaseDurationSeconds: &m.cfg.LeaseDuration, RenewTime: &now},
	})
}
