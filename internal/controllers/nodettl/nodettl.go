// Package nodettl tells kubelets how long they may keep Secrets and ConfigMaps before they look again: an annotation of the Node, which is
// longer the more nodes there are, so that those who do not watch do not wear the API server out.
//
// Watches: Nodes. Writes: their annotation node.alpha.kubernetes.io/ttl (seconds).
package nodettl

import (
	"context"
	"strconv"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"hyperkube/internal/client"
	"hyperkube/internal/controllers"
)

// Name is upstream's name of the controller.
const Name = "ttl-controller"

// step is a size of clusters, in nodes, and what holds there. Two steps overlap, so that a node that comes and goes does not have the annotation
// of all nodes written again and again.
type step struct{ least, most, seconds int }

var steps = []step{{0, 100, 0}, {90, 500, 15}, {450, 1000, 30}, {900, 2000, 60}, {1800, 1 << 30, 300}}

type controller struct {
	workers int
	client  client.Interface
	nodes   *client.Informer[*corev1.Node]
	queue   *client.Queue[string]

	mu sync.Mutex
	at int // the step that the cluster is on
}

// New registers the controller.
func New(d controllers.Deps, workers int) controllers.Controller {
	c := &controller{workers: workers, client: d.Client(Name), nodes: client.InformerFor(d.Informers, client.Nodes), queue: client.NewQueue[string](Name)}
	c.nodes.OnChange(func(_, new *corev1.Node) {
		if c.move(c.nodes.Len()) {
			for _, n := range c.nodes.List() {
				c.queue.Add(n.Name)
			}
		}
		if new != nil && new.Annotations[corev1.ObjectTTLAnnotationKey] != c.seconds() {
			c.queue.Add(new.Name)
		}
	})
	return c
}

func (c *controller) Name() string { return Name }

func (c *controller) Run(ctx context.Context) error {
	client.RunWorkers(ctx, c.queue, c.workers, c.reconcile)
	return nil
}

// move goes to the step of a cluster of so many nodes, and says whether it is another one.
func (c *controller) move(nodes int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.at
	for c.at > 0 && nodes < steps[c.at].least {
		c.at--
	}
	for nodes > steps[c.at].most {
		c.at++
	}
	return c.at != was
}

func (c *controller) seconds() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strconv.Itoa(steps[c.at].seconds)
}

func (c *controller) reconcile(ctx context.Context, name string) error {
	n, ok := c.nodes.Get("", name)
	want := c.seconds()
	if !ok || n.Annotations[corev1.ObjectTTLAnnotationKey] == want {
		return nil
	}
	_, err := client.Nodes.MergePatch(ctx, c.client, "", name, map[string]any{"metadata": map[string]any{"uid": n.UID,
		"annotations": map[string]string{corev1.ObjectTTLAnnotationKey: want}}})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil // it is gone, or another one of that name
	}
	return err
}
