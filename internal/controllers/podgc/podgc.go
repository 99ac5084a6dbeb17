// Package podgc deletes pods that no kubelet will ever finish: those bound to nodes that no longer exist, those being deleted
// before they got a node, those being deleted on a node that is out of service (KEP-2268), and the
// oldest of those that have ended, when there are too many.
//
// Watches: Pods, Nodes. Writes: Pod status (phase Failed and the condition DisruptionTarget, KEP-3329), deletes Pods
// without grace.
package podgc

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"hyperkube/internal/client"
	"hyperkube/internal/controllers"
	"hyperkube/internal/controllers/podset"
	"hyperkube/internal/object"
)

// Name is upstream's name of the controller.
const Name = "pod-garbage-collector-controller"

// quarantine is how long a node must have been gone before its pods are: one that is registered again keeps them.
const quarantine = 40 * time.Second

// index over pods that have ended.
const ended = "podgc/ended"

// task is one thing to look at: a pod, a node that may be gone, or the number of ended pods.
type task struct {
	pod  object.Key
	node string
}

type controller struct {
	client    client.Interface
	pods      *client.Informer[*corev1.Pod]
	nodes     *client.Informer[*corev1.Node]
	queue     *client.Queue[task]
	threshold int
	ended     atomic.Int64
}

// New registers the controller. threshold is how many ended pods may stay (--terminated-pod-gc-threshold); none or less lets
// all stay.
func New(d controllers.Deps, threshold int) controllers.Controller {
	c := &controller{
		client:    d.Client("pod-garbage-collector"),
		pods:      client.InformerFor(d.Informers, client.Pods),
		nodes:     client.InformerFor(d.Informers, client.Nodes),
		queue:     client.NewQueue[task](Name),
		threshold: threshold,
	}
	podset.IndexByNode(c.pods)
	c.pods.AddIndex(ended, func(p *corev1.Pod) []string {
		if podset.IsTerminal(p) {
			return []string{""}
		}
		return nil
	})
	c.nodes.OnChange(c.nodeChanged)
	c.pods.OnChange(c.podChanged)
	return c
}

func (c *controller) Name() string { return Name }

func (c *controller) Run(ctx context.Context) error {
	client.RunWorkers(ctx, c.queue, 4, c.reconcile)
	return nil
}

func (c *controller) nodeChanged(old, new *corev1.Node) {
	if new == nil {
		c.queue.AddAfter(task{node: old.Name}, quarantine)
		return
	}
	if outOfService(new) && (old == nil || !outOfService(old)) {
		for _, p := range podset.OnNode(c.pods, new.Name) {
			if p.DeletionTimestamp != nil {
				c.queue.Add(task{pod: object.KeyOf(p)})
			}
		}
	}
}

func (c *controller) podChanged(old, new *corev1.Pod) {
	was, is := old != nil && podset.IsTerminal(old), new != nil && podset.IsTerminal(new)
	if was != is {
		if is {
			c.ended.Add(1)
		} else {
			c.ended.Add(-1)
		}
	}
	if is && !was && c.threshold > 0 && c.ended.Load() > int64(c.threshold) {
		c.queue.Add(task{})
	}
	if new == nil {
		return
	}
	if new.DeletionTimestamp != nil && (old == nil || old.DeletionTimestamp == nil) {
		c.queue.Add(task{pod: object.KeyOf(new)})
	}
	if new.Spec.NodeName != "" && (old == nil || old.Spec.NodeName == "") {
		if _, ok := c.nodes.Get("", new.Spec.NodeName); !ok {
			c.queue.AddAfter(task{node: new.Spec.NodeName}, quarantine)
		}
	}
}

func (c *controller) reconcile(ctx context.Context, t task) error {
	switch {
	case t.node != "":
		return c.lostNode(ctx, t.node)
	case t.pod.Name != "":
		return c.stuckPod(ctx, t.pod)
	}
	return c.tooMany(ctx)
}

// lostNode deletes the pods of a node that is not there.
func (c *controller) lostNode(ctx context.Context, name string) error {
	pods := podset.OnNode(c.pods, name)
	if _, ok := c.nodes.Get("", name); ok || len(pods) == 0 {
		return nil
	}
	if _, err := client.Nodes.Get(ctx, c.client, "", name); !apierrors.IsNotFound(err) {
		return err
	}
	for _, p := range pods {
		if err := c.end(ctx, p, "PodGC: node no longer exists"); err != nil {
			return err
		}
	}
	return nil
}

// stuckPod deletes a pod whose deletion nobody will finish.
func (c *controller) stuckPod(ctx context.Context, key object.Key) error {
	p, ok := c.pods.Get(key.Namespace, key.Name)
	if !ok || p.DeletionTimestamp == nil {
		return nil
	}
	if p.Spec.NodeName == "" {
		return c.end(ctx, p, "")
	}
	n, ok := c.nodes.Get("", p.Spec.NodeName)
	if !ok || !outOfService(n) {
		return nil
	}
	return c.end(ctx, p, "PodGC: node is out-of-service")
}

func outOfService(n *corev1.Node) bool {
	out := slices.ContainsFunc(n.Spec.Taints, func(t corev1.Taint) bool { return t.Key == corev1.TaintNodeOutOfService })
	ready := slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
	return out && !ready
}

// tooMany deletes the oldest ended pods beyond the threshold.
func (c *controller) tooMany(ctx context.Context) error {
	pods := podset.Filter(c.pods.ByIndex(ended, ""), func(p *corev1.Pod) bool { return p.DeletionTimestamp == nil })
	n := len(pods) - c.threshold
	if n <= 0 {
		return nil
	}
	slices.SortFunc(pods, func(a, b *corev1.Pod) int {
		// Evicted ones hold the least.
		if x, y := a.Status.Reason == "Evicted", b.Status.Reason == "Evicted"; x != y {
			if x {
				return -1
			}
			return 1
		}
		return a.CreationTimestamp.Compare(b.CreationTimestamp.Time)
	})
	for _, p := range pods[:n] {
		if err := c.end(ctx, p, ""); err != nil {
			return err
		}
	}
	return nil
}

// end marks a pod as failed where it has not ended, with the reason if there is one, and deletes it without grace.
func (c *controller) end(ctx context.Context, p *corev1.Pod, why string) error {
	if !podset.IsTerminal(p) {
		reason := ""
		if why != "" {
			reason = "DeletionByPodGC"
		}
		if err := podset.MarkDisrupted(ctx, c.client, p, reason, why, true); err != nil {
			if apierrors.IsNotFound(err) {
				return nil
			}
			return err
		}
	}
	err := c.client.Delete(ctx, client.Pods.GVR, p.Namespace, p.Name, metav1.DeleteOptions{
		GracePeriodSeconds: ptr.To(int64(0)), Preconditions: metav1.NewUIDPreconditions(string(p.UID)),
	})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
