package gc

import (
	"slices"
	"sync"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"hyperkube/internal/client"
)

// ident names an object and where it is found.
type ident struct {
	gk        schema.GroupKind
	namespace string
	name      string
	uid       types.UID
}

// node is an object that owns or is owned.
type node struct {
	ident
	gvr        client.GVR // empty while virtual
	owners     []metav1.OwnerReference
	dependents map[types.UID]*node
	deleting   bool // has a deletion time
	foreground bool // … and waits for its dependents
	orphaning  bool // … or lets its dependents go first
	virtual    bool // known only from a dependent's reference
}

// graph is who owns whom, as the caches show it. Objects without owners and dependents are not in it, so that it costs
// nothing for most of a cluster. Safe for concurrent use.
type graph struct {
	mu    sync.RWMutex
	nodes map[types.UID]*node
	// owned are the UIDs of the nodes of each resource, to drop them with it.
	owned map[client.GVR]map[types.UID]bool
}

func newGraph() *graph {
	return &graph{nodes: map[types.UID]*node{}, owned: map[client.GVR]map[types.UID]bool{}}
}

// effects are what a change of the graph asks for.
type effects struct {
	check  []types.UID // objects whose owners or dependents to look at
	orphan []types.UID // owners whose dependents to let go
	// mismatched is an object that names an owner of another namespace.
	mismatched []metav1.OwnerReference
}

// put takes in an object as it is now.
func (g *graph) put(id ident, gvr client.GVR, o client.Object) effects {
	g.mu.Lock()
	defer g.mu.Unlock()
	var e effects
	owners := o.GetOwnerReferences()
	finalizers := o.GetFinalizers()
	deleting := o.GetDeletionTimestamp() != nil
	n := g.nodes[id.uid]
	if n == nil {
		if len(owners) == 0 && !deleting {
			return e
		}
		n = &node{ident: id, dependents: map[types.UID]*node{}}
		g.nodes[id.uid] = n
	}
	g.own(gvr, id.uid)
	wasVirtual := n.virtual
	n.ident, n.gvr, n.virtual = id, gvr, false
	e.relink(g, n, owners)
	if wasVirtual {
		// Dependents that named it in another namespace are none of its own.
		for uid, d := range n.dependents {
			if !refersTo(d, n) {
				e.check = append(e.check, uid)
			}
		}
	}
	foreground := deleting && slices.Contains(finalizers, metav1.FinalizerDeleteDependents)
	orphaning := deleting && slices.Contains(finalizers, metav1.FinalizerOrphanDependents)
	if foreground && !n.foreground {
		e.check = append(e.check, id.uid)
		for uid := range n.dependents {
			e.check = append(e.check, uid)
		}
	}
	if orphaning && !n.orphaning {
		e.orphan = append(e.orphan, id.uid)
	}
	n.deleting, n.foreground, n.orphaning = deleting, foreground, orphaning
	g.prune(n)
	return e
}

// relink gives a node its present owners.
func (e *effects) relink(g *graph, n *node, owners []metav1.OwnerReference) {
	if apiequality.Semantic.DeepEqual(n.owners, owners) {
		return
	}
	for _, was := range n.owners {
		i := slices.IndexFunc(owners, func(r metav1.OwnerReference) bool { return r.UID == was.UID })
		o := g.nodes[was.UID]
		if o == nil {
			continue
		}
		unblocked := blocks(was) && (i < 0 || !blocks(owners[i]))
		if i < 0 {
			delete(o.dependents, n.uid)
		}
		if o.foreground && unblocked {
			e.check = append(e.check, o.uid)
		}
		if i < 0 {
			g.prune(o)
		}
	}
	n.owners = slices.Clone(owners)
	for _, r := range owners {
		o := g.nodes[r.UID]
		if o == nil {
			gv, _ := schema.ParseGroupVersion(r.APIVersion)
			o = &node{
				ident:      ident{gk: gv.WithKind(r.Kind).GroupKind(), namespace: n.namespace, name: r.Name, uid: r.UID},
				dependents: map[types.UID]*node{}, virtual: true,
			}
			g.nodes[r.UID] = o
		}
		o.dependents[n.uid] = n
		switch {
		case o.virtual:
			// The owner may be in a cache that has not told of it, or exist without being worth a node, or be absent.
			e.check = append(e.check, n.uid)
		case !refersTo(n, o):
			e.mismatched = append(e.mismatched, r)
			e.check = append(e.check, n.uid)
		case o.foreground:
			e.check = append(e.check, n.uid)
		}
	}
}

func blocks(r metav1.OwnerReference) bool {
	return r.BlockOwnerDeletion != nil && *r.BlockOwnerDeletion
}

// refersTo says whether a reference of d to o's UID also has o's kind, name and namespace.
func refersTo(d, o *node) bool {
	for _, r := range d.owners {
		if r.UID != o.uid {
			continue
		}
		gv, _ := schema.ParseGroupVersion(r.APIVersion)
		return gv.Group == o.gk.Group && r.Kind == o.gk.Kind && r.Name == o.name && (o.namespace == "" || o.namespace == d.namespace)
	}
	return false
}

// drop takes out an object that is gone. Its dependents are to be looked at, and owners that waited for it.
func (g *graph) drop(uid types.UID) effects {
	g.mu.Lock()
	defer g.mu.Unlock()
	var e effects
	n := g.nodes[uid]
	if n == nil {
		return e
	}
	for d := range n.dependents {
		e.check = append(e.check, d)
	}
	for _, r := range n.owners {
		o := g.nodes[r.UID]
		if o == nil {
			continue
		}
		delete(o.dependents, uid)
		if o.foreground {
			e.check = append(e.check, o.uid)
		}
		g.prune(o)
	}
	n.owners = nil
	delete(g.owned[n.gvr], uid)
	if len(n.dependents) == 0 {
		delete(g.nodes, uid)
		return e
	}
	// Dependents still name it: it stays as a virtual node until the last of them has gone or let it go.
	n.virtual, n.gvr, n.deleting, n.foreground, n.orphaning = true, client.GVR{}, false, false, false
	return e
}

// dropResource takes out all objects of a resource that is no longer served.
func (g *graph) dropResource(gvr client.GVR) (e effects) {
	g.mu.RLock()
	uids := make([]types.UID, 0, len(g.owned[gvr]))
	for uid := range g.owned[gvr] {
		uids = append(uids, uid)
	}
	g.mu.RUnlock()
	for _, uid := range uids {
		x := g.drop(uid)
		e.check = append(e.check, x.check...)
	}
	return e
}

// prune forgets a node that nothing hangs on.
func (g *graph) prune(n *node) {
	if len(n.dependents) > 0 || len(n.owners) > 0 || n.deleting {
		return
	}
	delete(g.nodes, n.uid)
	delete(g.owned[n.gvr], n.uid)
}

func (g *graph) own(gvr client.GVR, uid types.UID) {
	if g.owned[gvr] == nil {
		g.owned[gvr] = map[types.UID]bool{}
	}
	g.owned[gvr][uid] = true
}

// view is a copy of a node that may be read without the lock.
type view struct {
	ident
	gvr        client.GVR
	deleting   bool
	foreground bool
	orphaning  bool
	virtual    bool
	dependents []dependent
}

// dependent is one edge of a view.
type dependent struct {
	ident
	gvr        client.GVR
	blocking   bool
	foreground bool
}

// look gives a node; ok is false when it is not in the graph.
func (g *graph) look(uid types.UID) (view, bool) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	n := g.nodes[uid]
	if n == nil {
		return view{}, false
	}
	v := view{ident: n.ident, gvr: n.gvr, deleting: n.deleting, foreground: n.foreground, orphaning: n.orphaning, virtual: n.virtual}
	for _, d := range n.dependents {
		blocking := slices.ContainsFunc(d.owners, func(r metav1.OwnerReference) bool { return r.UID == uid && blocks(r) })
		v.dependents = append(v.dependents, dependent{d.ident, d.gvr, blocking, d.foreground})
	}
	return v, true
}
