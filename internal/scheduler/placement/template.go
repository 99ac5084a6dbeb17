package placement

import (
	"strings"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
)

// template is what decisions remember for pods that ask the same of node objects.
type template struct {
	required  nodeaffinity.RequiredNodeAffinity
	added     *nodeaffinity.NodeSelector
	preferred []*nodeaffinity.PreferredSchedulingTerms
	badTerms  bool
	tolerates []corev1.Toleration // for PreferNoSchedule
	images    []string
	cells     []cell // by node index
	used      uint64
}

// cell is the outcome for one node, as long as the node's spec is the one it was made from.
type cell struct {
	spec        uint64
	imageEpoch  uint64
	verdict     *verdict
	taints      int32 // PreferNoSchedule taints that are not tolerated
	preferred   int32
	images      int32
	scored, set bool
}

type templates struct {
	byKey map[templateKey]*template
	clock uint64
}

type templateKey struct {
	profile *Profile
	key     string
}

// maxTemplates bounds how many templates are remembered.
const maxTemplates = 64

func (ts *templates) init() { ts.byKey = map[templateKey]*template{} }

func (s *State) template(prof *Profile, p *Pod) *template {
	ts := &s.templates
	ts.clock++
	key := templateKey{prof, p.template}
	t := ts.byKey[key]
	if t == nil {
		if len(ts.byKey) >= maxTemplates {
			ts.evict()
		}
		t = newTemplate(prof, p.Object)
		ts.byKey[key] = t
	}
	t.used = ts.clock
	if len(t.cells) < len(s.nodes) {
		t.cells = append(t.cells, make([]cell, len(s.nodes)-len(t.cells))...)
	}
	return t
}

func (ts *templates) evict() {
	var oldest templateKey
	first := true
	for k, t := range ts.byKey {
		if first || t.used < ts.byKey[oldest].used {
			oldest, first = k, false
		}
	}
	delete(ts.byKey, oldest)
}

func newTemplate(prof *Profile, pod *corev1.Pod) *template {
	t := &template{required: nodeaffinity.GetRequiredNodeAffinity(pod)}
	t.addPreferred(pod.Spec.Affinity)
	if a := prof.AddedAffinity; a != nil {
		if sel := a.RequiredDuringSchedulingIgnoredDuringExecution; sel != nil {
			var err error
			t.added, err = nodeaffinity.NewNodeSelector(sel)
			t.badTerms = t.badTerms || err != nil
		}
		t.addPreferred(&corev1.Affinity{NodeAffinity: a})
	}
	for _, tol := range pod.Spec.Tolerations {
		if tol.Effect == "" || tol.Effect == corev1.TaintEffectPreferNoSchedule {
			t.tolerates = append(t.tolerates, tol)
		}
	}
	for _, cs := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range cs {
			t.images = append(t.images, taggedImage(cs[i].Image))
		}
	}
	return t
}

func (t *template) addPreferred(a *corev1.Affinity) {
	if a == nil || a.NodeAffinity == nil || len(a.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution) == 0 {
		return
	}
	terms, err := nodeaffinity.NewPreferredSchedulingTerms(a.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution)
	if err != nil {
		t.badTerms = true
		return
	}
	t.preferred = append(t.preferred, terms)
}

func taggedImage(name string) string {
	if strings.LastIndex(name, ":") <= strings.LastIndex(name, "/") {
		return name + ":latest"
	}
	return name
}

// cell gives the remembered outcome for a node.
func (c *cycle) cell(n *Node) *cell {
	x := &c.tpl.cells[n.index]
	if !x.set || x.spec != n.spec {
		*x = cell{spec: n.spec, set: true, verdict: c.judge(n)}
	}
	return x
}

// judge runs the filters that look at the node object alone. NodeName depends on the pod, not the template, and is
// asked before.
func (c *cycle) judge(n *Node) *verdict {
	spec := &n.Object.Spec
	tolerations := c.p.Object.Spec.Tolerations
	if c.prof.Filters.Has(NodeUnschedulable) && spec.Unschedulable &&
		!tolerated(tolerations, &corev1.Taint{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule}) {
		return &refusedUnschedulable
	}
	if c.prof.Filters.Has(TaintToleration) && !toleratesAll(tolerations, spec.Taints) {
		return &refusedTaint
	}
	if !c.prof.Filters.Has(NodeAffinity) {
		return nil
	}
	if c.tpl.added != nil && !c.tpl.added.Match(n.Object) {
		return &refusedAdded
	}
	// A selector that does not parse matches nothing.
	if ok, err := c.tpl.required.Match(n.Object); err != nil || !ok {
		return &refusedNodeAffinity
	}
	return nil
}

// scoredCell adds to the cell what scores look at.
func (c *cycle) scoredCell(n *Node) *cell {
	x := c.cell(n)
	if !x.scored {
		x.scored = true
		for i := range n.Object.Spec.Taints {
			if t := &n.Object.Spec.Taints[i]; t.Effect == corev1.TaintEffectPreferNoSchedule && !tolerated(c.tpl.tolerates, t) {
				x.taints++
			}
		}
		for _, terms := range c.tpl.preferred {
			x.preferred += int32(terms.Score(n.Object))
		}
		x.imageEpoch = c.s.imageEpoch + 1
	}
	if x.imageEpoch != c.s.imageEpoch {
		x.imageEpoch = c.s.imageEpoch
		x.images = int32(c.imageScore(n))
	}
	return x
}

// imageScore grows with the bytes of the pod's images that the node has, less for images that few nodes have, so
// that the first node to pull an image does not get all pods.
func (c *cycle) imageScore(n *Node) int64 {
	const mb = 1 << 20
	const least, most = 23 * mb, 1000 * mb
	if len(n.images) == 0 {
		return 0
	}
	var sum int64
	for _, image := range c.tpl.images {
		if size, ok := n.images[image]; ok {
			sum += int64(float64(size) * float64(c.s.images[image]) / float64(len(c.s.nodes)))
		}
	}
	top := int64(most * len(c.tpl.images))
	sum = min(max(sum, least), top)
	return maxScore * (sum - least) / (top - least)
}

func tolerated(tolerations []corev1.Toleration, taint *corev1.Taint) bool {
	for i := range tolerations {
		if tolerations[i].ToleratesTaint(logr.Discard(), taint, true) {
			return true
		}
	}
	return false
}

// toleratesAll says whether the taints that keep pods away are all tolerated.
func toleratesAll(tolerations []corev1.Toleration, taints []corev1.Taint) bool {
	for i := range taints {
		t := &taints[i]
		if (t.Effect == corev1.TaintEffectNoSchedule || t.Effect == corev1.TaintEffectNoExecute) && !tolerated(tolerations, t) {
			return false
		}
	}
	return true
}
