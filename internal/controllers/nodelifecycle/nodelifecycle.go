// Package nodelifecycle notices nodes that no longer report, and turns the state of nodes into taints.
//
// Watches: Nodes, Leases of kube-node-lease, Pods. Writes: Node status (Ready and the pressure conditions become Unknown
// when the node's lease has not been renewed for the grace period), Node taints (NoSchedule for every bad condition,
// NoExecute for not ready and unreachable, which package tainteviction acts on), Pod status (not ready on such
// nodes), events "NodeNotReady", "NodeReady" and their like.
//
// Nothing is polled: each node has one timer, which fires when its grace period would be over and is put
// off when the lease was renewed meanwhile. Times are those at which this process saw a change, never the node's own
// clock. NoExecute taints are rationed by zone, and given to none while every zone looks dead: then it is more likely
// that the control plane is cut off (zones.go).
package nodelifecycle

import (
	"context"
	"log/slog"
	"sync"
	"time"

	coordv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/record"

	"hyperkube/internal/client"
	"hyperkube/internal/controllers"
	"hyperkube/internal/controllers/podset"
	"hyperkube/internal/controllers/taints"
)

// Name is upstream's name of the controller.
const Name = "node-lifecycle-controller"

// Options are upstream's flags of the same names. Zero values are upstream's defaults.
type Options struct {
	MonitorGracePeriod time.Duration // without a sign of life until Unknown; 50 s
	StartupGracePeriod time.Duration // the same for a node that never reported; 60 s
	EvictionRate       float64       // nodes a second that get NoExecute taints, for each zone; 0.1
	SecondaryRate      float64       // … in a zone that is unhealthy; 0.01
	LargeCluster       int           // nodes of an unhealthy zone up to which none are evicted; 50
	UnhealthyThreshold float64       // share of nodes not ready from which a zone is unhealthy; 0.55
}

func (o *Options) setDefaults() {
	if o.MonitorGracePeriod == 0 {
		o.MonitorGracePeriod = 50 * time.Second
	}
	if o.StartupGracePeriod == 0 {
		o.StartupGracePeriod = 60 * time.Second
	}
	if o.EvictionRate == 0 {
		o.EvictionRate = 0.1
	}
	if o.SecondaryRate == 0 {
		o.SecondaryRate = 0.01
	}
	if o.LargeCluster == 0 {
		o.LargeCluster = 50
	}
	if o.UnhealthyThreshold == 0 {
		o.UnhealthyThreshold = 0.55
	}
}

type controller struct {
	client  client.Interface
	events  record.EventRecorder
	nodes   *client.Informer[*corev1.Node]
	leases  *client.Informer[*coordv1.Lease]
	pods    *client.Informer[*corev1.Pod]
	queue   *client.Queue[string]
	options Options
	zones   *zones
	log     *slog.Logger

	mu     sync.Mutex
	health map[string]*health // by node
}

// health is what this process has seen of a node.
type health struct {
	seen   time.Time // last sign of life
	marked time.Time // transition of Ready for which the pods were marked
}

// New registers the controller.
func New(d controllers.Deps, o Options) controllers.Controller {
	o.setDefaults()
	c := &controller{
		client:  d.Client("node-controller"),
		events:  d.Recorder("node-controller"),
		nodes:   client.InformerFor(d.Informers, client.Nodes),
		leases:  client.InformerWith(d.Informers, client.Leases, client.Select{Namespace: corev1.NamespaceNodeLease}),
		pods:    client.InformerFor(d.Informers, client.Pods),
		queue:   client.NewQueue[string](Name),
		options: o,
		zones:   newZones(o),
		log:     controllers.Logger(Name),
		health:  map[string]*health{},
	}
	podset.IndexByNode(c.pods)
	c.nodes.OnChange(c.nodeChanged)
	c.leases.OnChange(func(old, new *coordv1.Lease) {
		if new != nil && (old == nil || !old.Spec.RenewTime.Equal(new.Spec.RenewTime)) {
			c.alive(new.Name)
		}
	})
	return c
}

func (c *controller) Name() string { return Name }

func (c *controller) Run(ctx context.Context) error {
	for _, n := range c.nodes.List() {
		c.alive(n.Name)
		c.queue.Add(n.Name)
	}
	client.RunWorkers(ctx, c.queue, 8, c.reconcile)
	return nil
}

// alive notes a sign of life.
func (c *controller) alive(node string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if h := c.health[node]; h != nil {
		h.seen = time.Now()
		return
	}
	c.health[node] = &health{seen: time.Now()}
}

func (c *controller) nodeChanged(old, new *corev1.Node) {
	if new == nil {
		c.mu.Lock()
		delete(c.health, old.Name)
		c.mu.Unlock()
		c.events.Eventf(reference(old), corev1.EventTypeNormal, "RemovingNode", "Node %s event: Removing Node %s from Controller", old.Name, old.Name)
	} else {
		if old == nil {
			c.events.Eventf(reference(new), corev1.EventTypeNormal, "RegisteredNode", "Node %s event: Registered Node %s in Controller", new.Name, new.Name)
		}
		if old == nil || !heartbeat(old).Equal(heartbeat(new)) {
			c.alive(new.Name)
		}
		c.queue.Add(new.Name)
	}
	if old == nil || new == nil || readiness(old) != readiness(new) || zoneOf(old) != zoneOf(new) {
		c.weigh(old, new)
	}
}

// weigh judges the zones anew, and looks at all nodes when what is allowed in a zone has changed.
func (c *controller) weigh(old, new *corev1.Node) {
	changed, back := c.zones.change(old, new)
	if !changed || !c.nodes.HasSynced() {
		return // Run looks at all nodes
	}
	all := c.nodes.List()
	if back {
		// The cluster is reachable again: its nodes get a whole grace period before they are judged.
		for _, n := range all {
			c.alive(n.Name)
		}
	}
	for _, n := range all {
		c.queue.Add(n.Name)
	}
}

func (c *controller) reconcile(ctx context.Context, name string) error {
	node, ok := c.nodes.Get("", name)
	if !ok {
		return nil
	}
	node, err := c.judge(ctx, node)
	if err != nil {
		return quiet(err)
	}
	if err := c.taint(ctx, node); err != nil {
		return quiet(err)
	}
	return quiet(c.markPods(ctx, node))
}

// quiet takes errors away that another version of the object, which is on its way here, will mend.
func quiet(err error) error {
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// taint gives the node the taints that its conditions ask for. The evicting one is rationed, but never taken back for want of a
// ration: the node may have it already where this one is a version behind.
func (c *controller) taint(ctx context.Context, node *corev1.Node) error {
	now, dead, granted := time.Now(), c.zones.allDead(), false
	if _, ok := evictingTaint(node); ok && !dead && !evicting(node) {
		wait := c.zones.ration(zoneOf(node), now)
		granted = wait == 0
		if wait > 0 {
			c.queue.AddAfter(node.Name, wait)
		}
	}
	change := func(n *corev1.Node) ([]corev1.Taint, bool) {
		return taints.Change(n.Spec.Taints, wanted(n, granted, dead), managed, now)
	}
	if _, changed := change(node); !changed {
		return nil
	}
	_, err := client.Nodes.Modify(ctx, c.client, "", node.Name, func(n *corev1.Node) bool {
		next, changed := change(n)
		n.Spec.Taints = next
		return changed
	})
	return err
}

// evicting says whether pods are being driven from the node, for whichever of the two reasons.
func evicting(n *corev1.Node) bool {
	return taints.Has(n.Spec.Taints, corev1.TaintNodeNotReady, corev1.TaintEffectNoExecute) ||
		taints.Has(n.Spec.Taints, corev1.TaintNodeUnreachable, corev1.TaintEffectNoExecute)
}

// wanted are the taints that a node should have: granted allows one that evicts, and dead, when all nodes are, none.
func wanted(n *corev1.Node, granted, dead bool) []corev1.Taint {
	out := conditionTaints(n)
	if evict, ok := evictingTaint(n); ok && !dead && (granted || evicting(n)) {
		out = append(out, evict)
	}
	return out
}

func reference(n *corev1.Node) *corev1.ObjectReference {
	return &corev1.ObjectReference{APIVersion: "v1", Kind: "Node", Name: n.Name, UID: n.UID}
}
