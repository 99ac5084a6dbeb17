package placement

import (
	"math/rand/v2"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
)

// State is the cluster as decisions see it.
type State struct {
	// nodes are in random order, so that consecutive ones are a fair sample.
	nodes  []*Node
	byName map[string]*Node
	next   int // where the next sample begins
	specs  uint64
	rng    *rand.Rand

	pods        map[types.UID]*Pod // on nodes
	byNamespace map[string]map[types.UID]*Pod
	namespaces  map[string]labels.Set
	nominated   map[types.UID]*Node

	topologies  []*topology
	topologyIDs map[string]int
	tallies     tallies
	carried     carried
	templates   templates
	images      map[string]int // on how many nodes
	imageEpoch  uint64

	cycle cycle

	// SelectorFor gives what the default spread constraints of a pod count: the pods of its services and its
	// owner. It may be nil.
	SelectorFor func(*corev1.Pod) labels.Selector
}

// NewState is an empty cluster. The seed decides among equals.
func NewState(seed uint64) *State {
	s := &State{
		byName:      map[string]*Node{},
		rng:         rand.New(rand.NewPCG(seed, 0)),
		pods:        map[types.UID]*Pod{},
		byNamespace: map[string]map[types.UID]*Pod{},
		namespaces:  map[string]labels.Set{},
		nominated:   map[types.UID]*Node{},
		topologyIDs: map[string]int{},
		images:      map[string]int{},
	}
	s.tallies.init()
	s.carried.init()
	s.templates.init()
	return s
}

// NodeCount is how many nodes there are.
func (s *State) NodeCount() int { return len(s.nodes) }

// PodCount is how many pods are on nodes.
func (s *State) PodCount() int { return len(s.pods) }

// Node by name; nil when there is none.
func (s *State) Node(name string) *Node {
	if n := s.byName[name]; n != nil && n.Object != nil {
		return n
	}
	return nil
}

// Pod that is on a node; nil when it is on none.
func (s *State) Pod(uid types.UID) *Pod { return s.pods[uid] }

// SetNode adds a node or replaces it.
func (s *State) SetNode(obj *corev1.Node) {
	n := s.byName[obj.Name]
	if n == nil {
		n = &Node{Name: obj.Name, index: -1}
		s.byName[obj.Name] = n
	}
	if n.Object != nil {
		c := CompareNodes(n.Object, obj)
		if !c.Any() {
			n.Object = obj
			return
		}
		s.specs++
		n.spec = s.specs
		if !c.Labels && !c.Taints {
			s.countImages(n, -1)
			n.setObject(obj)
			s.countImages(n, 1)
			return
		}
		s.unplaceNode(n)
		s.countImages(n, -1)
	}
	s.specs++
	n.spec = s.specs
	n.setObject(obj)
	s.countImages(n, 1)
	if n.index < 0 {
		s.insertNode(n)
	}
	s.placeNode(n)
}

// insertNode puts a node at a random place.
func (s *State) insertNode(n *Node) {
	n.index = len(s.nodes)
	s.nodes = append(s.nodes, n)
	other := s.nodes[s.rng.IntN(len(s.nodes))]
	s.nodes[n.index], s.nodes[other.index] = other, n
	n.index, other.index = other.index, n.index
}

// RemoveNode takes a node out. Pods on it stay known, should it come back.
func (s *State) RemoveNode(name string) {
	n := s.Node(name)
	if n == nil {
		return
	}
	s.unplaceNode(n)
	s.countImages(n, -1)
	last := s.nodes[len(s.nodes)-1]
	s.nodes[n.index], last.index = last, n.index
	s.nodes[len(s.nodes)-1] = nil
	s.nodes = s.nodes[:len(s.nodes)-1]
	n.index, n.Object = -1, nil
	s.forgetEmpty(n)
}

func (s *State) forgetEmpty(n *Node) {
	if n.Object == nil && len(n.pods) == 0 && len(n.nominated) == 0 {
		delete(s.byName, n.Name)
	}
}

// placeNode and unplaceNode add and take away all that tallies hold of a node.
func (s *State) placeNode(n *Node) {
	n.domains = n.domains[:0]
	for _, t := range s.topologies {
		n.domains = append(n.domains, t.enter(n.Object))
	}
	s.tallies.node(n, 1)
	for _, p := range n.pods {
		s.count(p, 1)
	}
}

func (s *State) unplaceNode(n *Node) {
	for _, p := range n.pods {
		s.count(p, -1)
	}
	s.tallies.node(n, -1)
	for i, t := range s.topologies {
		t.leave(n.domains[i])
	}
	n.domains = n.domains[:0]
}

func (s *State) countImages(n *Node, sign int) {
	if len(n.images) > 0 {
		s.imageEpoch++
	}
	for name := range n.images {
		if s.images[name] += sign; s.images[name] == 0 {
			delete(s.images, name)
		}
	}
}

// AddPod puts a pod on a node, in place of another version of it. The node need not be known yet.
func (s *State) AddPod(p *Pod, node string) {
	s.RemovePod(p.UID())
	n := s.byName[node]
	if n == nil {
		n = &Node{Name: node, index: -1}
		s.byName[node] = n
	}
	s.pods[p.UID()] = p
	ns := s.byNamespace[p.Object.Namespace]
	if ns == nil {
		ns = map[types.UID]*Pod{}
		s.byNamespace[p.Object.Namespace] = ns
	}
	ns[p.UID()] = p
	s.attach(p, n)
}

// RemovePod takes a pod off its node; one that is on none is ignored.
func (s *State) RemovePod(uid types.UID) {
	p := s.pods[uid]
	if p == nil {
		return
	}
	n := p.node
	s.detach(p)
	delete(s.pods, uid)
	ns := s.byNamespace[p.Object.Namespace]
	delete(ns, uid)
	if len(ns) == 0 {
		delete(s.byNamespace, p.Object.Namespace)
	}
	s.forgetEmpty(n)
}

func (s *State) attach(p *Pod, n *Node) {
	n.attach(p)
	if n.Object != nil {
		s.count(p, 1)
	}
}

func (s *State) detach(p *Pod) {
	n := p.node
	if n.Object != nil {
		s.count(p, -1)
	}
	n.detach(p)
}

// count adds a pod to the tallies, or takes it away.
func (s *State) count(p *Pod, sign int32) {
	s.tallies.pod(s, p, sign)
	s.carried.pod(s, p, sign)
}

// Nominate reserves room on a node for a pod that waits for others to leave it; node "" ends that.
func (s *State) Nominate(p *Pod, node string) {
	uid := p.UID()
	if old := s.nominated[uid]; old != nil {
		old.nominated = slices.DeleteFunc(old.nominated, func(o *Pod) bool { return o.UID() == uid })
		delete(s.nominated, uid)
		s.forgetEmpty(old)
	}
	n := s.byName[node]
	if n == nil {
		return
	}
	n.nominated = append(n.nominated, p)
	s.nominated[uid] = n
}

// NominatedNode of a pod; "" for none.
func (s *State) NominatedNode(uid types.UID) string {
	if n := s.nominated[uid]; n != nil {
		return n.Name
	}
	return ""
}

// SetNamespace tells of the labels of a namespace, which namespace selectors of affinity terms read.
func (s *State) SetNamespace(name string, l map[string]string) {
	s.namespaces[name] = labels.Set(l)
	s.tallies.dropSelecting()
}

// RemoveNamespace forgets a namespace.
func (s *State) RemoveNamespace(name string) {
	delete(s.namespaces, name)
	s.tallies.dropSelecting()
}
