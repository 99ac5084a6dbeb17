package placement

// carried tallies the terms that pods on nodes carry, by term: where the pods with that term are. A new pod asks each
// distinct term once whether it is meant.
type carried struct {
	anti      map[string]*carriedTerm // required anti-affinity
	affinity  map[string]*carriedTerm // required affinity
	preferred map[string]*carriedTerm // preferred affinity and anti-affinity; counts are sums of weights
	// idle says that some terms have no carrier. They stay until the next decision, so that trying out what happens without a
	// pod does not lose them.
	idle bool
}

type carriedTerm struct {
	term     *Term
	topology int
	carriers int
	counts   []int64
}

func (c *carried) init() {
	c.anti, c.affinity, c.preferred = map[string]*carriedTerm{}, map[string]*carriedTerm{}, map[string]*carriedTerm{}
}

func (c *carried) pod(s *State, p *Pod, sign int32) {
	for _, t := range p.antiAffinity {
		c.add(s, c.anti, t, p.node, 1, sign)
	}
	for _, t := range p.affinity {
		c.add(s, c.affinity, t, p.node, 1, sign)
	}
	for _, w := range p.preferred {
		c.add(s, c.preferred, w.term, p.node, w.weight, sign)
	}
	for _, w := range p.antiPreferred {
		c.add(s, c.preferred, w.term, p.node, -w.weight, sign)
	}
}

func (c *carried) add(s *State, m map[string]*carriedTerm, t *Term, n *Node, weight int64, sign int32) {
	g := m[t.key]
	if g == nil {
		g = &carriedTerm{term: t, topology: s.topology(t.topology)}
		m[t.key] = g
	}
	g.carriers += int(sign)
	if d := n.domains[g.topology]; d >= 0 {
		for int32(len(g.counts)) <= d {
			g.counts = append(g.counts, 0)
		}
		g.counts[d] += weight * int64(sign)
	}
	c.idle = c.idle || g.carriers == 0
}

// tidy forgets terms without carriers.
func (c *carried) tidy() {
	if !c.idle {
		return
	}
	c.idle = false
	for _, m := range []map[string]*carriedTerm{c.anti, c.affinity, c.preferred} {
		for key, g := range m {
			if g.carriers == 0 {
				delete(m, key)
			}
		}
	}
}

func (g *carriedTerm) count(n *Node) int64 {
	d := n.domains[g.topology]
	if d < 0 || int(d) >= len(g.counts) {
		return 0
	}
	return g.counts[d]
}
