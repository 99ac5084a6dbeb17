package statefulset

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/client"
	"hyperkube/internal/controllers/podset"
	"hyperkube/internal/object"
)

// act takes one step.
func (c *controller) act(ctx context.Context, key object.Key, s *state) error {
	if err := c.tend(ctx, s); err != nil {
		return err
	}
	p := s.plan()
	if err := c.create(ctx, key, s, p.create); err != nil {
		return err
	}
	for _, pod := range p.replace {
		if !c.mayRetry(key, s.set, pod) {
			continue
		}
		if pod.Status.Phase == corev1.PodFailed {
			c.events.Eventf(s.set, corev1.EventTypeWarning, "RecreatingFailedPod", "StatefulSet %s/%s is recreating failed Pod %s", s.set.Namespace, s.set.Name, pod.Name)
		} else {
			c.events.Eventf(s.set, corev1.EventTypeNormal, "RecreatingTerminatedPod", "StatefulSet %s/%s is recreating terminated Pod %s", s.set.Namespace, s.set.Name, pod.Name)
		}
		p.remove = append(p.remove, pod)
	}
	return c.remove(ctx, key, s.set, p.remove)
}

// tend mends what belongs to pods that are there: their labels, and claims that are missing or have the wrong owners.
func (c *controller) tend(ctx context.Context, s *state) error {
	for _, p := range s.slots {
		if p == nil || p.DeletionTimestamp != nil || podset.IsTerminal(p) {
			continue
		}
		if l := mistaken(s.set, p); l != nil {
			if _, err := client.Pods.MergePatch(ctx, c.client, p.Namespace, p.Name, map[string]any{"metadata": map[string]any{"uid": p.UID, "labels": l}}); err != nil && !apierrors.IsNotFound(err) {
				return fmt.Errorf("labels of pod %s: %w", p.Name, err)
			}
		}
		if p.Status.Phase == corev1.PodPending && p.Spec.NodeName == "" {
			if err := c.ensureClaims(ctx, s.set, p.Name, string(p.UID)); err != nil {
				c.log.Info("a pod waits for its claims", "pod", object.KeyOf(p).String(), "error", err)
			}
		}
		if err := c.settleClaims(ctx, s.set, p, false); err != nil {
			return err
		}
	}
	for _, p := range s.surplus {
		if err := c.settleClaims(ctx, s.set, p, true); err != nil {
			return err
		}
	}
	return nil
}

func (c *controller) create(ctx context.Context, key object.Key, s *state, slots []int) error {
	_, err := c.expect.Creating(key, len(slots), func(i int) error { return c.createOne(ctx, s, slots[i]) })
	return err
}

func (c *controller) createOne(ctx context.Context, s *state, slot int) error {
	set := s.set
	pod, err := s.podFor(slot)
	if err != nil {
		return err
	}
	if err = c.ensureClaims(ctx, set, pod.Name, ""); err == nil {
		_, err = client.Pods.Create(ctx, c.client, pod)
	}
	if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return podset.ErrNamespaceEnding
	}
	if err != nil {
		c.events.Eventf(set, corev1.EventTypeWarning, "FailedCreate", "create Pod %s in StatefulSet %s failed error: %s", pod.Name, set.Name, err)
		return err
	}
	c.events.Eventf(set, corev1.EventTypeNormal, "SuccessfulCreate", "create Pod %s in StatefulSet %s successful", pod.Name, set.Name)
	return nil
}

func (c *controller) remove(ctx context.Context, key object.Key, set *appsv1.StatefulSet, pods []*corev1.Pod) error {
	_, err := c.expect.Deleting(key, pods, func(p *corev1.Pod) error {
		err := c.client.Delete(ctx, client.Pods.GVR, p.Namespace, p.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(p.UID))})
		switch {
		case err == nil:
			c.events.Eventf(set, corev1.EventTypeNormal, "SuccessfulDelete", "delete Pod %s in StatefulSet %s successful", p.Name, set.Name)
		case !apierrors.IsNotFound(err):
			c.events.Eventf(set, corev1.EventTypeWarning, "FailedDelete", "delete Pod %s in StatefulSet %s failed error: %s", p.Name, set.Name, err)
		}
		return err
	})
	return err
}

// mayRetry says whether a pod that has ended may be replaced now; otherwise it wakes the set when it may. A pod that fails again and
// again, because no node can run it, would be made anew without an end.
func (c *controller) mayRetry(key object.Key, set *appsv1.StatefulSet, pod *corev1.Pod) bool {
	id := string(set.UID) + "/" + pod.Name
	now := c.backoff.Clock.Now()
	if c.backoff.IsInBackOffSinceUpdate(id, now) {
		c.queue.AddAfter(key, c.backoff.Get(id))
		return false
	}
	c.backoff.GC()
	c.backoff.Next(id, now)
	return true
}
