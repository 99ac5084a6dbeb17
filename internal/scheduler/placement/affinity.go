package placement

import (
	"math"
	"strings"
)

// affinityRules are the required affinity and anti-affinity of the pod and of those that run.
type affinityRules struct {
	near    []*tally // one for each term; a pod counts when all terms mean it
	self    bool     // the pod is one that its own terms mean
	apart   []*tally
	forbids []*carriedTerm // anti-affinity of running pods that means this pod
}

func (r affinityRules) reset() affinityRules {
	return affinityRules{near: r.near[:0], apart: r.apart[:0], forbids: r.forbids[:0]}
}

type affinityFilter struct{}

func (affinityFilter) prepare(c *cycle) bool {
	s, p, r := c.s, c.p, &c.affinity
	if len(p.affinity) > 0 {
		r.self = true
		for _, t := range p.affinity {
			r.self = r.self && t.matches(s, p.Object)
		}
		for _, t := range p.affinity {
			r.near = append(r.near, s.nearTally(p.affinity, t.topology))
		}
	}
	for _, t := range p.antiAffinity {
		r.apart = append(r.apart, s.termTally(t))
	}
	for _, g := range s.carried.anti {
		if g.carriers > 0 && g.term.matches(s, p.Object) {
			r.forbids = append(r.forbids, g)
		}
	}
	return len(r.near)+len(r.apart)+len(r.forbids) > 0
}

// termTally counts the pods that one term means.
func (s *State) termTally(t *Term) *tally {
	return s.tally("term|"+t.key, func() *tally {
		return &tally{
			topology: s.topology(t.topology), namespaces: namespacesOf(t), selecting: t.selects != nil,
			matches: func(s *State, p *Pod) bool { return t.matches(s, p.Object) },
		}
	})
}

// nearTally counts the pods that all terms mean.
func (s *State) nearTally(terms []*Term, topology string) *tally {
	if len(terms) == 1 {
		return s.termTally(terms[0])
	}
	var key strings.Builder
	key.WriteString("all|" + topology)
	selecting := false
	for _, t := range terms {
		key.WriteString("|" + t.key)
		selecting = selecting || t.selects != nil
	}
	return s.tally(key.String(), func() *tally {
		return &tally{
			topology: s.topology(topology), namespaces: namespacesOf(terms[0]), selecting: selecting,
			matches: func(s *State, p *Pod) bool {
				for _, t := range terms {
					if !t.matches(s, p.Object) {
						return false
					}
				}
				return true
			},
		}
	})
}

func namespacesOf(t *Term) []string {
	if t.selects != nil {
		return nil
	}
	return t.namespaces
}

func (affinityFilter) filter(c *cycle, n *Node) *verdict {
	r := &c.affinity
	if len(r.near) > 0 && !r.isNear(n) {
		return &refusedAffinity
	}
	for _, t := range r.apart {
		if d := n.domains[t.topology]; d >= 0 && t.count(d) > 0 {
			return &refusedAnti
		}
	}
	for _, g := range r.forbids {
		if g.count(n) > 0 {
			return &refusedExistingAnti
		}
	}
	return nil
}

// isNear says whether the node is where the pod wants to be. The first of pods that want to be near each
// other may go anywhere that has the labels.
func (r *affinityRules) isNear(n *Node) bool {
	near, none := true, true
	for _, t := range r.near {
		d := n.domains[t.topology]
		if d < 0 {
			return false
		}
		near = near && t.count(d) > 0
		none = none && t.total == 0
	}
	return near || none && r.self
}

// affinityScore adds up preferences, of the pod for others and of others for the pod.
type affinityScore struct {
	own    []ownPreference
	others []othersPreference
}

type ownPreference struct {
	*tally
	weight int64
}

type othersPreference struct {
	*carriedTerm
	weight int64
}

func (x *affinityScore) prepare(c *cycle) bool {
	s, p := c.s, c.p
	for _, w := range p.preferred {
		x.own = append(x.own, ownPreference{s.termTally(w.term), w.weight})
	}
	for _, w := range p.antiPreferred {
		x.own = append(x.own, ownPreference{s.termTally(w.term), -w.weight})
	}
	has := len(p.affinity)+len(p.antiAffinity)+len(x.own) > 0
	if !c.prof.IgnorePreferredOfExisting || has {
		for _, g := range s.carried.preferred {
			if g.carriers > 0 && g.term.matches(s, p.Object) {
				x.others = append(x.others, othersPreference{g, 1})
			}
		}
	}
	if c.prof.HardAffinityWeight > 0 {
		for _, g := range s.carried.affinity {
			if g.carriers > 0 && g.term.matches(s, p.Object) {
				x.others = append(x.others, othersPreference{g, c.prof.HardAffinityWeight})
			}
		}
	}
	return len(x.own)+len(x.others) > 0
}

func (x *affinityScore) score(_ *cycle, _ int, n *Node) (sum int64) {
	for _, o := range x.own {
		if d := n.domains[o.topology]; d >= 0 {
			sum += o.weight * int64(o.count(d))
		}
	}
	for _, o := range x.others {
		sum += o.weight * o.carriedTerm.count(n)
	}
	return sum
}

func (x *affinityScore) normalize(scores []int64) {
	least, most := int64(math.MaxInt64), int64(math.MinInt64)
	for _, s := range scores {
		least, most = min(least, s), max(most, s)
	}
	for i, s := range scores {
		scores[i] = 0
		if most > least {
			scores[i] = int64(float64(maxScore) * float64(s-least) / float64(most-least))
		}
	}
}

// Affects says whether where other is may matter to where p can go: one of them has affinity rules that mean the other.
func (s *State) Affects(p, other *Pod) bool {
	for _, t := range p.affinity {
		if t.matches(s, other.Object) {
			return true
		}
	}
	for _, t := range p.antiAffinity {
		if t.matches(s, other.Object) {
			return true
		}
	}
	for _, t := range other.antiAffinity {
		if t.matches(s, p.Object) {
			return true
		}
	}
	return false
}
