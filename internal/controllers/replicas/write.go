package replicas

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/controllers/podset"
	"hyperkube/internal/object"
)

func (c *Controller[T]) create(ctx context.Context, key object.Key, owner T, spec Spec, n int) error {
	_, err := c.expect.Creating(key, n, func(int) error {
		return c.writer.Create(ctx, owner, podset.FromTemplate(owner, c.kind.GVK, spec.Template))
	})
	return err
}

func (c *Controller[T]) remove(ctx context.Context, key object.Key, owner T, active []*corev1.Pod, n int) error {
	victims := active
	if n < len(active) {
		podset.RankForDeletion(active, c.related(owner, active), time.Now())
		victims = active[:n]
	}
	_, err := c.expect.Deleting(key, victims, func(p *corev1.Pod) error { return c.writer.Delete(ctx, owner, p) })
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
