package placement

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
)

// topology is one label key of nodes and the domains, numbered, that its values make.
type topology struct {
	key    string
	ids    map[string]int32
	names  []string
	nodes  []int32 // by domain
	unused []int32
}

// topology gives the number of a label key, beginning to follow it at the first call.
func (s *State) topology(key string) int {
	if id, ok := s.topologyIDs[key]; ok {
		return id
	}
	id := len(s.topologies)
	t := &topology{key: key, ids: map[string]int32{}}
	s.topologies = append(s.topologies, t)
	s.topologyIDs[key] = id
	for _, n := range s.nodes {
		n.domains = append(n.domains, t.enter(n.Object))
	}
	return id
}

// enter gives the domain of a node, -1 without the label. A domain without nodes is reused: no tally counts anything in it.
func (t *topology) enter(n *corev1.Node) int32 {
	v, ok := n.Labels[t.key]
	if !ok {
		return -1
	}
	id, ok := t.ids[v]
	if !ok {
		if last := len(t.unused) - 1; last >= 0 {
			id, t.unused = t.unused[last], t.unused[:last]
			t.names[id] = v
		} else {
			id = int32(len(t.nodes))
			t.nodes, t.names = append(t.nodes, 0), append(t.names, v)
		}
		t.ids[v] = id
	}
	t.nodes[id]++
	return id
}

func (t *topology) leave(id int32) {
	if id < 0 {
		return
	}
	if t.nodes[id]--; t.nodes[id] == 0 {
		delete(t.ids, t.names[id])
		t.unused = append(t.unused, id)
	}
}

// tally counts the pods that match, in each domain of one topology key.
type tally struct {
	key         string
	topology    int
	matches     func(s *State, p *Pod) bool
	namespaces  []string // that its pods can be in; nil: any
	selecting   bool     // depends on labels of namespaces
	eligible    func(n *Node) bool
	counts      []int32
	total       int64
	used        uint64  // clock of the last use
	nodes       []int32 // eligible nodes by domain
	domains     int32   // with eligible nodes
	byCount     []int32 // domains with eligible nodes, by their count
	least       int32   // smallest count among them, when domains > 0
	withMinimum bool
}

func grow(s []int32, i int32) []int32 {
	for int32(len(s)) <= i {
		s = append(s, 0)
	}
	return s
}

func (t *tally) count(d int32) int32 {
	if int(d) >= len(t.counts) {
		return 0
	}
	return t.counts[d]
}

func (t *tally) add(d, sign int32) {
	t.counts = grow(t.counts, d)
	t.total += int64(sign)
	old := t.counts[d]
	t.counts[d] = old + sign
	if t.withMinimum && int(d) < len(t.nodes) && t.nodes[d] > 0 {
		t.shift(old, -1)
		t.shift(old+sign, 1)
		t.settle()
	}
}

// shift notes that a domain with this count came or went.
func (t *tally) shift(count, sign int32) {
	t.byCount = grow(t.byCount, count)
	t.byCount[count] += sign
	if sign > 0 && count < t.least {
		t.least = count
	}
}

// settle moves the least count up to one that a domain has.
func (t *tally) settle() {
	if t.domains == 0 {
		t.least = 0
		return
	}
	for int(t.least) < len(t.byCount)-1 && t.byCount[t.least] == 0 {
		t.least++
	}
}

// node adds an eligible node to its domain, or takes it away.
func (t *tally) node(n *Node, sign int32) {
	if !t.withMinimum {
		return
	}
	d := n.domains[t.topology]
	if d < 0 || !t.eligible(n) {
		return
	}
	t.nodes = grow(t.nodes, d)
	t.nodes[d] += sign
	switch {
	case sign > 0 && t.nodes[d] == 1:
		if t.domains++; t.domains == 1 {
			t.least = t.count(d)
		}
		t.shift(t.count(d), 1)
	case sign < 0 && t.nodes[d] == 0:
		t.domains--
		t.shift(t.count(d), -1)
	}
	t.settle()
}

// tallies are those that pods asked for.
type tallies struct {
	byKey       map[string]*tally
	byNamespace map[string][]*tally
	everywhere  []*tally
	clock       uint64
}

// maxTallies bounds the tallies kept; those not asked for longest go.
const maxTallies = 1024

func (ts *tallies) init() {
	ts.byKey = map[string]*tally{}
	ts.byNamespace = map[string][]*tally{}
	ts.everywhere = nil
}

// tally gives the tally of a key, filling what make gives in the first time.
func (s *State) tally(key string, make func() *tally) *tally {
	ts := &s.tallies
	ts.clock++
	t := ts.byKey[key]
	if t == nil {
		if len(ts.byKey) >= maxTallies {
			ts.evict()
		}
		t = make()
		t.key = key
		s.fill(t)
		ts.byKey[key] = t
		ts.list(t, func(l []*tally) []*tally { return append(l, t) })
	}
	t.used = ts.clock
	return t
}

func (ts *tallies) list(t *tally, edit func([]*tally) []*tally) {
	if t.namespaces == nil {
		ts.everywhere = edit(ts.everywhere)
		return
	}
	for _, ns := range t.namespaces {
		if l := edit(ts.byNamespace[ns]); len(l) > 0 {
			ts.byNamespace[ns] = l
		} else {
			delete(ts.byNamespace, ns)
		}
	}
}

// evict drops the quarter that was not used longest.
func (ts *tallies) evict() {
	all := make([]*tally, 0, len(ts.byKey))
	for _, t := range ts.byKey {
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b *tally) int { return int(int64(a.used) - int64(b.used)) })
	for _, t := range all[:len(all)/4] {
		ts.drop(t)
	}
}

func (ts *tallies) drop(t *tally) {
	delete(ts.byKey, t.key)
	ts.list(t, func(l []*tally) []*tally {
		return slices.DeleteFunc(l, func(o *tally) bool { return o == t })
	})
}

// dropSelecting drops what labels of namespaces decided.
func (ts *tallies) dropSelecting() {
	for _, t := range ts.byKey {
		if t.selecting {
			ts.drop(t)
		}
	}
}

// fill counts what there is.
func (s *State) fill(t *tally) {
	for _, n := range s.nodes {
		t.node(n, 1)
	}
	if t.namespaces == nil {
		for _, p := range s.pods {
			t.pod(s, p, 1)
		}
		return
	}
	for _, ns := range t.namespaces {
		for _, p := range s.byNamespace[ns] {
			t.pod(s, p, 1)
		}
	}
}

func (t *tally) pod(s *State, p *Pod, sign int32) {
	if p.node == nil || p.node.Object == nil {
		return
	}
	d := p.node.domains[t.topology]
	if d < 0 || t.eligible != nil && !t.eligible(p.node) || !t.matches(s, p) {
		return
	}
	t.add(d, sign)
}

func (ts *tallies) pod(s *State, p *Pod, sign int32) {
	for _, t := range ts.byNamespace[p.Object.Namespace] {
		t.pod(s, p, sign)
	}
	for _, t := range ts.everywhere {
		t.pod(s, p, sign)
	}
}

func (ts *tallies) node(n *Node, sign int32) {
	for _, t := range ts.byKey {
		t.node(n, sign)
	}
}

// matches says whether a pod is one that the term means.
func (t *Term) matches(s *State, p *corev1.Pod) bool {
	if !slices.Contains(t.namespaces, p.Namespace) &&
		(t.selects == nil || !t.selects.Matches(s.namespaces[p.Namespace])) {
		return false
	}
	return t.pods.Matches(labels.Set(p.Labels))
}

// equals is the requirement that a label has a value, or has not.
func equals(key, value string, not bool) []labels.Requirement {
	op := selection.In
	if not {
		op = selection.NotIn
	}
	r, err := labels.NewRequirement(key, op, []string{value})
	if err != nil {
		// Labels of a stored pod are valid, so its keys and values are.
		return nil
	}
	return []labels.Requirement{*r}
}
