// Package tainteviction deletes the pods that do not tolerate a NoExecute taint of their node, at once or
// after the time for which they tolerate it.
//
// Watches: Nodes, Pods. Writes: deletes Pods, after it has given them the condition DisruptionTarget; events
// "TaintManagerEviction". A deletion that is due later is put into the queue for that moment, and is not carried out when
// the taint is gone by then. The time runs from when this process first saw the pod and the taint together.
package tainteviction

import (
	"context"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"

	"hyperkube/internal/client"
	"hyperkube/internal/controllers"
	"hyperkube/internal/controllers/podset"
	"hyperkube/internal/controllers/taints"
)

// Name is upstream's name of the controller.
const Name = "taint-eviction-controller"

// key names one life of a pod: another pod of the name starts anew.
type key struct {
	namespace, name string
	uid             types.UID
}

// eviction is one that is due.
type eviction struct{ began, due time.Time }

type controller struct {
	client  client.Interface
	events  record.EventRecorder
	nodes   *client.Informer[*corev1.Node]
	pods    *client.Informer[*corev1.Pod]
	queue   *client.Queue[key]
	workers int

	mu      sync.Mutex
	pending map[key]eviction
}

// New registers the controller. workers is how many pods are worked on at a time.
func New(d controllers.Deps, workers int) controllers.Controller {
	c := &controller{
		client:  d.Client("taint-eviction-controller"),
		events:  d.Recorder("taint-eviction-controller"),
		nodes:   client.InformerFor(d.Informers, client.Nodes),
		pods:    client.InformerFor(d.Informers, client.Pods),
		queue:   client.NewQueue[key](Name),
		workers: workers,
		pending: map[key]eviction{},
	}
	podset.IndexByNode(c.pods)
	c.nodes.OnChange(c.nodeChanged)
	c.pods.OnChange(c.podChanged)
	return c
}

func (c *controller) Name() string { return Name }

func (c *controller) Run(ctx context.Context) error {
	client.RunWorkers(ctx, c.queue, c.workers, c.reconcile)
	return nil
}

func (c *controller) nodeChanged(old, new *corev1.Node) {
	if new == nil {
		new = &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: old.Name}}
	}
	is := taints.NoExecute(new.Spec.Taints)
	var was []corev1.Taint
	if old != nil {
		was = taints.NoExecute(old.Spec.Taints)
	}
	if slices.EqualFunc(was, is, func(a, b corev1.Taint) bool { return a.MatchTaint(&b) && a.Value == b.Value }) {
		return
	}
	for _, p := range podset.OnNode(c.pods, new.Name) {
		c.queue.Add(key{p.Namespace, p.Name, p.UID})
	}
}

func (c *controller) podChanged(old, new *corev1.Pod) {
	if old != nil && (new == nil || new.UID != old.UID) {
		c.forget(key{old.Namespace, old.Name, old.UID})
	}
	if new == nil || new.Spec.NodeName == "" {
		return
	}
	if old != nil && old.UID == new.UID && old.Spec.NodeName == new.Spec.NodeName && len(old.Spec.Tolerations) == len(new.Spec.Tolerations) {
		return // tolerations can only be added
	}
	// Before the nodes are known a look costs nothing and finds no taints; they wake their pods when they come.
	if n, ok := c.nodes.Get("", new.Spec.NodeName); ok && len(taints.NoExecute(n.Spec.Taints)) > 0 {
		c.queue.Add(key{new.Namespace, new.Name, new.UID})
	}
}

func (c *controller) reconcile(ctx context.Context, k key) error {
	pod, ok := c.pods.Get(k.namespace, k.name)
	if !ok || pod.UID != k.uid || pod.DeletionTimestamp != nil {
		c.forget(k)
		return nil
	}
	var evicting []corev1.Taint
	if n, ok := c.nodes.Get("", pod.Spec.NodeName); ok {
		evicting = taints.NoExecute(n.Spec.Taints)
	}
	stay, forever := taints.Stay(evicting, pod.Spec.Tolerations)
	if len(evicting) == 0 || forever {
		if c.forget(k) {
			c.events.Eventf(pod, corev1.EventTypeNormal, "TaintManagerEviction", "Cancelling deletion of Pod %s/%s", k.namespace, k.name)
		}
		return nil
	}
	if left := c.plan(k, stay, time.Now()); left > 0 {
		c.queue.AddAfter(k, left)
		return nil
	}
	return c.evict(ctx, pod)
}

// plan notes when the pod is due and gives the time left. Of several reasons the one that comes first counts, and the
// time of all runs from when the first was seen.
func (c *controller) plan(k key, stay time.Duration, now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.pending[k]
	if !ok {
		e.began = now
	}
	e.due = e.began.Add(stay)
	if stay > 0 {
		c.pending[k] = e
	}
	return e.due.Sub(now)
}

func (c *controller) forget(k key) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, was := c.pending[k]
	delete(c.pending, k)
	return was
}

func (c *controller) evict(ctx context.Context, pod *corev1.Pod) error {
	c.events.Eventf(pod, corev1.EventTypeNormal, "TaintManagerEviction", "Marking for deletion Pod %s/%s", pod.Namespace, pod.Name)
	if err := podset.MarkDisrupted(ctx, c.client, pod, "DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint", false); err != nil {
		if apierrors.IsNotFound(err) {
			return nil
		}
		return err
	}
	err := c.client.Delete(ctx, client.Pods.GVR, pod.Namespace, pod.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(pod.UID))})
	if err == nil || apierrors.IsNotFound(err) {
		c.forget(key{pod.Namespace, pod.Name, pod.UID})
		return nil
	}
	return err
}
