package placement

import (
	"fmt"
	"slices"
)

// Result is where a pod goes.
type Result struct {
	// Node chosen.
	Node string
	// Evaluated nodes, and how many of them would do.
	Evaluated, Feasible int
}

// Place decides for one pod. Without a node the error is a *[Failure], or says what in the pod does not parse.
func (s *State) Place(prof *Profile, p *Pod) (Result, error) {
	if p.err != nil {
		return Result{}, fmt.Errorf("pod affinity: %w", p.err)
	}
	if len(s.nodes) == 0 {
		return Result{}, &Failure{}
	}
	c := s.begin(prof, p)
	if p.err != nil {
		return Result{}, fmt.Errorf("topology spread constraints: %w", p.err)
	}
	c.search()
	r := Result{Evaluated: len(c.feasible) + len(c.failed), Feasible: len(c.feasible)}
	switch len(c.feasible) {
	case 0:
		return r, c.failure()
	case 1:
		r.Node = c.feasible[0].Name
		return r, nil
	}
	c.rank()
	r.Node = c.best().Name
	return r, nil
}

// search fills c.feasible and c.failed.
func (c *cycle) search() {
	s := c.s
	if c.only != nil {
		for _, name := range c.only {
			if n := s.Node(name); n != nil {
				c.consider(n)
			}
		}
		return
	}
	// The node that others were preempted on for this pod is tried first, and taken if it will do.
	if n := s.nominated[c.p.UID()]; n != nil && n.Object != nil && c.checkNominated(n) == nil {
		c.feasible = append(c.feasible, n)
		return
	}
	want := sampleSize(len(s.nodes), c.prof.SamplePercent)
	seen := 0
	for ; seen < len(s.nodes) && len(c.feasible) < want; seen++ {
		c.consider(s.nodes[(s.next+seen)%len(s.nodes)])
	}
	s.next = (s.next + seen) % len(s.nodes)
}

func (c *cycle) consider(n *Node) {
	var v *verdict
	if len(n.nominated) == 0 {
		v = c.check(n)
	} else {
		v = c.checkNominated(n)
	}
	if v == nil {
		c.feasible = append(c.feasible, n)
		return
	}
	c.failed = append(c.failed, nodeVerdict{n, v})
}

func (c *cycle) failure() *Failure {
	f := newFailure(len(c.s.nodes), slices.Clone(c.failed))
	if rest := len(c.s.nodes) - len(c.failed); c.only != nil && rest > 0 {
		f.Plugins = f.Plugins.With(NodeAffinity)
		f.reasons["node(s) didn't satisfy plugin(s) [NodeAffinity]"] += rest
	}
	return f
}

// sampleSize is how many feasible nodes are enough, upstream's rule: all up to 100 nodes, then a share that falls
// from half to a twentieth as the cluster grows.
func sampleSize(nodes int, percent int32) int {
	const least = 100
	if nodes < least || percent >= 100 {
		return nodes
	}
	if percent == 0 {
		percent = max(5, 50-int32(nodes/125))
	}
	return max(least, nodes*int(percent)/100)
}

// Fits says whether a pod that is on no node would do on this one now, and whether it might with fewer other pods.
func (s *State) Fits(prof *Profile, p *Pod, node string) Code {
	n := s.Node(node)
	if n == nil || p.err != nil {
		return Unresolvable
	}
	c := s.begin(prof, p)
	if c.only != nil {
		for _, name := range c.only {
			if name == node {
				return c.checkNominated(n).Code()
			}
		}
		return Unresolvable
	}
	return c.checkNominated(n).Code()
}
