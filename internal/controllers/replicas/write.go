package replicas

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"hyperkube/internal/controllers/podset"
	"hyperkube/internal/object"
)

func (c *Controller[T]) create(ctx context.Context, key object.Key, owner T, spec Spec, n int) error {
	c.expect.ExpectCreates(key, n, time.Now())
	var tried atomic.Int64
	_, err := podset.SlowStart(n, func(int) error {
		tried.Add(1)
		err := c.writer.Create(ctx, owner, podset.FromTemplate(owner, c.kind.GVK, spec.Template))
		if err != nil {
			c.expect.Created(key)
		}
		return err
	})
	for range n - int(tried.Load()) {
		c.expect.Created(key)
	}
	if errors.Is(err, podset.ErrNamespaceEnding) {
		return nil
	}
	return err
}

func (c *Controller[T]) remove(ctx context.Context, key object.Key, owner T, active []*corev1.Pod, n int) error {
	now := time.Now()
	victims := active
	if n < len(active) {
		podset.RankForDeletion(active, c.related(owner, active), now)
		victims = active[:n]
	}
	uids := make([]types.UID, len(victims))
	for i, p := range victims {
		uids[i] = p.UID
	}
	c.expect.ExpectDeletes(key, now, uids...)
	_, err := podset.Together(len(victims), func(i int) error {
		err := c.writer.Delete(ctx, owner, victims[i])
		if err == nil {
			return nil
		}
		c.expect.Deleted(key, victims[i].UID)
		if apierrors.IsNotFound(err) {
			return nil
		}
		return err
	})
	return err
}

// related are the pods of all owners that the owner's own controller has (the replica sets of one deployment): a
// node with many of them is the best place to take one from.
func (c *Controller[T]) related(owner T, own []*corev1.Pod) []*corev1.Pod {
	ref := metav1.GetControllerOfNoCopy(owner)
	if ref == nil {
		return own
	}
	var all []*corev1.Pod
	for _, sibling := range podset.Controlled(c.owners, ref.UID) {
		all = append(all, podset.Controlled(c.pods, sibling.GetUID())...)
	}
	return all
}
