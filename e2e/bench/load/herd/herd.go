// Package herd keeps thousands of hollow nodes alive from one process: a load for control planes.
//
// To the API server a hollow node is like a kubelet: it registers its Node, renews its Lease in kube-node-lease, reports its conditions, makes
// the pods that are bound to it Running and Ready, and removes them for good when they are deleted. It has no containers.
//
// What a thousand kubelets would do each for itself is done here by a few hands over a few connections: heartbeats are spread
// evenly over their interval, so that the load is the same in every second, and one watch brings the pods of all nodes. A watch for
// each node, as kubelets have it, is offered ([Options].WatchEach) for those who want to measure it: it costs the server a stream a
// node, and this process three goroutines and buffers a node, which would fall upon the machine that both share. Node by node,
// no request depends on another's.
package herd

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	coordv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"hyperkube/e2e/bench/load"
)

// Options of a herd. Zero values are the defaults.
type Options struct {
	// Nodes is how many; there is room for MaxNodes.
	Nodes int
	// Prefix of the nodes' names; "hollow".
	Prefix string
	// Connections that the nodes share; 4.
	Connections int
	// Hands is how many requests there are at most at once for heartbeats, and as many again for pods; 100.
	Hands int
	// Renew is the time between two renewals of a node's lease; 10 s, a quarter of what the lease lasts.
	Renew time.Duration
	// Report is the time between two reports of a node's conditions; 5 min.
	Report time.Duration
	// WatchEach has each node watch its own pods.
	WatchEach bool
	// AsNodes makes every request under the identity of its node, so that the server's checks of nodes have their work. The user must be
	// allowed to impersonate.
	AsNodes bool
	// Keep leaves the nodes when the herd ends.
	Keep bool
}

func (o *Options) setDefaults() error {
	if o.Nodes < 1 || o.Nodes > MaxNodes {
		return fmt.Errorf("%d nodes: there can be 1 to %d", o.Nodes, MaxNodes)
	}
	if o.Connections < 0 || o.Hands < 0 || o.Renew < 0 || o.Report < 0 {
		return errors.New("connections, hands and intervals cannot be negative")
	}
	if o.Prefix == "" {
		o.Prefix = "hollow"
	}
	if o.Connections == 0 {
		o.Connections = 4
	}
	if o.Hands == 0 {
		o.Hands = 100
	}
	if o.Renew == 0 {
		o.Renew = 10 * time.Second
	}
	if o.Report == 0 {
		o.Report = 5 * time.Minute
	}
	return nil
}

// Herd is some hollow nodes. It is run once.
type Herd struct {
	options    Options
	clients    []*load.API
	nodes      []*node
	byName     map[string]*node
	pods       *pods
	counts     counts
	registered chan struct{}
}

// node is what is known of one.
type node struct {
	number int
	name   string
	since  time.Time // ready

	mu    sync.Mutex // one heartbeat at a time
	lease *coordv1.Lease
}

// request bounds one request; a kubelet gives up as soon.
const request = 10 * time.Second

// New makes a herd for the API server of cfg, whose limits of requests are lifted.
func New(cfg *rest.Config, o Options) (*Herd, error) {
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	if o.AsNodes {
		cfg = rest.CopyConfig(cfg)
		cfg.Wrap(func(next http.RoundTripper) http.RoundTripper { return impersonator{next} })
	}
	clients, err := load.Clients(cfg, load.Protobuf, o.Connections)
	if err != nil {
		return nil, err
	}
	h := &Herd{options: o, clients: clients, byName: map[string]*node{}, registered: make(chan struct{})}
	h.pods = newPods(h)
	for i := range o.Nodes {
		n := &node{number: i, name: name(o.Prefix, i)}
		h.nodes = append(h.nodes, n)
		h.byName[n.name] = n
	}
	return h, nil
}

// Registered is closed when all nodes are registered.
func (h *Herd) Registered() <-chan struct{} { return h.registered }

// Counts are those since the start.
func (h *Herd) Counts() Counts { return h.counts.read() }

// Run registers the nodes and keeps them alive until ctx ends, and returns nil then, when nothing of the herd runs any more. A node that cannot
// be registered ends it; what fails later is counted and tried again.
func (h *Herd) Run(ctx context.Context) error {
	err := h.run(ctx)
	if !h.options.Keep {
		err = errors.Join(err, h.remove(context.WithoutCancel(ctx)))
	}
	return err
}

func (h *Herd) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	// Heartbeats begin with the first node, since registering all may take longer than a lease lasts.
	wg.Go(func() { h.heartbeats(ctx) })
	wg.Go(func() { h.pods.run(ctx) })
	_, err := load.Parallel(ctx, h.hands(), len(h.nodes), func(ctx context.Context, a *load.API, i int) error {
		return h.register(ctx, a, h.nodes[i])
	})
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	close(h.registered)
	<-ctx.Done()
	return nil
}

// hands are the clients, each as often as it may have requests at once.
func (h *Herd) hands() []*load.API {
	var all []*load.API
	for i := range h.options.Hands {
		all = append(all, h.clients[i%len(h.clients)])
	}
	return all
}

// register makes a node and its lease. One that an earlier herd left is taken over, one that is no hollow node never.
func (h *Herd) register(ctx context.Context, a *load.API, n *node) error {
	ctx = h.as(ctx, n)
	n.since = time.Now()
	made := new(corev1.Node)
	err := a.CreateInto(ctx, load.Nodes, "", hollow(n.name, n.number, n.since), made)
	if apierrors.IsAlreadyExists(err) {
		err = h.takeOver(ctx, a, n, made)
	}
	if err != nil {
		return fmt.Errorf("registering %s: %w", n.name, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lease, err = renewOrMake(ctx, a, lease(made, n.since))
	if err != nil {
		return fmt.Errorf("making the lease of %s: %w", n.name, err)
	}
	return nil
}

func (h *Herd) takeOver(ctx context.Context, a *load.API, n *node, into *corev1.Node) error {
	if err := a.Get(ctx, load.Nodes, "", n.name, into); err != nil {
		return err
	}
	if into.Labels[Label] == "" {
		return fmt.Errorf("there is a node of this name without the label %s", Label)
	}
	return a.Patch(ctx, load.Nodes, "", n.name, "status", types.StrategicMergePatchType, report(n.since, n.since))
}

// remove takes the nodes out of the API; their leases and pods follow by the cluster's controllers.
func (h *Herd) remove(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	_, err := load.Parallel(ctx, h.hands(), len(h.nodes), func(ctx context.Context, a *load.API, i int) error {
		n := h.nodes[i]
		if n.lease == nil {
			return nil // never registered, or another's
		}
		if err := a.Delete(ctx, load.Nodes, "", n.name); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("removing %s: %w", n.name, err)
		}
		return nil
	})
	return err
}
