package placement

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// cycle is one decision: what was prepared for the pod, and the verdicts so far. It is reused.
type cycle struct {
	s    *State
	p    *Pod
	prof *Profile
	tpl  *template

	filters []filter
	only    []string // nodes that the pod names itself; nil: any

	spread   []spreadConstraint
	affinity affinityRules

	failed   []nodeVerdict
	feasible []*Node
	scores   []int64
	raw      []int64
}

// filter is one plugin's part in finding nodes. Plugins with nothing to say about a pod take no part.
type filter interface {
	// prepare looks at the pod once and says whether the plugin has anything to say.
	prepare(c *cycle) bool
	filter(c *cycle, n *Node) *verdict
}

func (s *State) begin(prof *Profile, p *Pod) *cycle {
	s.carried.tidy()
	c := &s.cycle
	*c = cycle{
		s: s, p: p, prof: prof, tpl: s.template(prof, p),
		filters: c.filters[:0], failed: c.failed[:0], feasible: c.feasible[:0],
		scores: c.scores, raw: c.raw, spread: c.spread[:0], affinity: c.affinity.reset(),
	}
	c.prepare()
	c.only = namedNodes(prof, p.Object)
	return c
}

func (c *cycle) prepare() {
	c.filters = c.filters[:0]
	c.spread, c.affinity = c.spread[:0], c.affinity.reset()
	for _, f := range []struct {
		plugin Plugin
		filter filter
	}{
		{NodePorts, portsFilter{}},
		{NodeResourcesFit, fitFilter{}},
		{PodTopologySpread, spreadFilter{}},
		{InterPodAffinity, affinityFilter{}},
	} {
		if c.prof.Filters.Has(f.plugin) && f.filter.prepare(c) {
			c.filters = append(c.filters, f.filter)
		}
	}
}

// namedNodes are the nodes that every node affinity term names (the pods of a daemon set name one each).
func namedNodes(prof *Profile, pod *corev1.Pod) []string {
	a := pod.Spec.Affinity
	if !prof.Filters.Has(NodeAffinity) || a == nil || a.NodeAffinity == nil ||
		a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return nil
	}
	var names []string
	for _, term := range a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms {
		found := false
		for _, f := range term.MatchFields {
			if f.Key == "metadata.name" && f.Operator == corev1.NodeSelectorOpIn {
				names = append(names, f.Values...)
				found = true
			}
		}
		if !found {
			return nil
		}
	}
	return names
}

// check runs all filters on a node.
func (c *cycle) check(n *Node) *verdict {
	if name := c.p.Object.Spec.NodeName; name != "" && name != n.Name && c.prof.Filters.Has(NodeName) {
		return &refusedName
	}
	if v := c.cell(n).verdict; v != nil {
		return v
	}
	for _, f := range c.filters {
		if v := f.filter(c, n); v != nil {
			return v
		}
	}
	return nil
}

// checkNominated is check, with the pods that are nominated to the node and go before this one in
// place as well as without them: they may or may not come.
func (c *cycle) checkNominated(n *Node) *verdict {
	var guests []*Pod
	for _, g := range n.nominated {
		if g.Priority >= c.p.Priority && g.UID() != c.p.UID() && g.node == nil {
			guests = append(guests, g)
		}
	}
	if len(guests) == 0 {
		return c.check(n)
	}
	for _, g := range guests {
		c.s.attach(g, n)
	}
	c.prepare()
	v := c.check(n)
	for _, g := range guests {
		c.s.detach(g)
	}
	c.prepare()
	if v != nil {
		return v
	}
	return c.check(n)
}

type portsFilter struct{}

func (portsFilter) prepare(c *cycle) bool { return len(c.p.ports) > 0 }

func (portsFilter) filter(c *cycle, n *Node) *verdict {
	for _, want := range c.p.ports {
		for _, have := range n.ports {
			if want.conflicts(have) {
				return &refusedPorts
			}
		}
	}
	return nil
}

type fitFilter struct{}

func (fitFilter) prepare(*cycle) bool { return true }

func (fitFilter) filter(c *cycle, n *Node) *verdict {
	r := &c.p.requests
	if int64(len(n.pods)) < n.maxPods &&
		fits(r.CPU, n.used.CPU, n.allocatable.CPU) &&
		fits(r.Memory, n.used.Memory, n.allocatable.Memory) &&
		fits(r.Ephemeral, n.used.Ephemeral, n.allocatable.Ephemeral) &&
		len(r.Other) == 0 {
		return nil
	}
	return c.misfit(n)
}

func fits(want, used, have int64) bool { return want == 0 || want <= have-used }

// misfit names what the node lacks.
func (c *cycle) misfit(n *Node) *verdict {
	v := &verdict{plugin: NodeResourcesFit}
	add := func(reason string, never bool) {
		if v.code == OK {
			v.code, v.reason = Unschedulable, reason
		} else {
			v.more = append(v.more, reason)
		}
		if never {
			v.code = Unresolvable
		}
	}
	if int64(len(n.pods)) >= n.maxPods {
		add(reasonTooManyPods, n.maxPods == 0)
	}
	lacks := func(name corev1.ResourceName, want, used, have int64) {
		if !fits(want, used, have) {
			add("Insufficient "+string(name), want > have)
		}
	}
	r := &c.p.requests
	lacks(corev1.ResourceCPU, r.CPU, n.used.CPU, n.allocatable.CPU)
	lacks(corev1.ResourceMemory, r.Memory, n.used.Memory, n.allocatable.Memory)
	lacks(corev1.ResourceEphemeralStorage, r.Ephemeral, n.used.Ephemeral, n.allocatable.Ephemeral)
	for name, want := range r.Other {
		if extended(name) && c.prof.ignores(name) {
			continue
		}
		lacks(name, want, n.used.Other[name], n.allocatable.Other[name])
	}
	if v.code == OK {
		return nil
	}
	return v
}

func (p *Profile) ignores(name corev1.ResourceName) bool {
	if p.IgnoredResources[string(name)] {
		return true
	}
	group, _, _ := strings.Cut(string(name), "/")
	return p.IgnoredGroups[group]
}
