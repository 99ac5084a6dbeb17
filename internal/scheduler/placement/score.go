package placement

import (
	"math"
)

// maxScore is the best score that a plugin gives.
const maxScore = 100

// scorer is one plugin's part in ranking nodes. A plugin with nothing to say about a pod takes no part.
type scorer interface {
	// prepare looks at the pod and c.feasible once and says whether the plugin has anything to say.
	prepare(c *cycle) bool
	// score of the i-th feasible node.
	score(c *cycle, i int, n *Node) int64
	// normalize brings scores to 0…100.
	normalize(scores []int64)
}

// rank adds up the weighted scores of the feasible nodes in c.scores.
func (c *cycle) rank() {
	c.scores = append(c.scores[:0], make([]int64, len(c.feasible))...)
	for _, x := range []struct {
		plugin Plugin
		scorer scorer
	}{
		{TaintToleration, taintScore{}},
		{NodeAffinity, preferredScore{}},
		{NodeResourcesFit, fitScore{}},
		{PodTopologySpread, &spreadScore{}},
		{InterPodAffinity, &affinityScore{}},
		{NodeResourcesBalancedAllocation, balancedScore{}},
		{ImageLocality, imageScore{}},
	} {
		weight := c.prof.Weights[x.plugin]
		if weight == 0 || !x.scorer.prepare(c) {
			continue
		}
		c.raw = c.raw[:0]
		for i, n := range c.feasible {
			c.raw = append(c.raw, x.scorer.score(c, i, n))
		}
		x.scorer.normalize(c.raw)
		for i, s := range c.raw {
			c.scores[i] += weight * s
		}
	}
}

// best is the node with the highest score, any of them when several have it.
func (c *cycle) best() *Node {
	best, equals := 0, 1
	for i := 1; i < len(c.scores); i++ {
		switch {
		case c.scores[i] > c.scores[best]:
			best, equals = i, 1
		case c.scores[i] == c.scores[best]:
			if equals++; c.s.rng.IntN(equals) == 0 {
				best = i
			}
		}
	}
	return c.feasible[best]
}

// scale brings scores to 0…100 in proportion to the highest; reverse turns them around.
func scale(scores []int64, reverse bool) {
	var most int64
	for _, s := range scores {
		most = max(most, s)
	}
	for i, s := range scores {
		if most > 0 {
			s = s * maxScore / most
		}
		if reverse {
			s = maxScore - s
		}
		scores[i] = s
	}
}

type taintScore struct{}

func (taintScore) prepare(*cycle) bool                      { return true }
func (taintScore) score(c *cycle, _ int, n *Node) int64     { return int64(c.scoredCell(n).taints) }
func (taintScore) normalize(scores []int64)                 { scale(scores, true) }
func (preferredScore) prepare(c *cycle) bool                { return len(c.tpl.preferred) > 0 }
func (preferredScore) score(c *cycle, _ int, n *Node) int64 { return int64(c.scoredCell(n).preferred) }
func (preferredScore) normalize(scores []int64)             { scale(scores, false) }
func (imageScore) prepare(c *cycle) bool                    { return len(c.s.images) > 0 }
func (imageScore) score(c *cycle, _ int, n *Node) int64     { return int64(c.scoredCell(n).images) }
func (imageScore) normalize([]int64)                        {}

type (
	preferredScore struct{}
	imageScore     struct{}
	fitScore       struct{}
	balancedScore  struct{}
)

func (fitScore) prepare(*cycle) bool { return true }

func (fitScore) score(c *cycle, _ int, n *Node) int64 {
	var sum, weights int64
	for _, r := range c.prof.Fit.Resources {
		have := n.allocatable.of(r.Name)
		if have == 0 || extended(r.Name) && c.p.requests.of(r.Name) == 0 {
			continue
		}
		want := n.scoring.of(r.Name) + c.p.scoring.of(r.Name)
		sum += r.Weight * c.prof.Fit.score(want, have)
		weights += r.Weight
	}
	if weights == 0 {
		return 0
	}
	if c.prof.Fit.Strategy == RequestedToCapacityRatio {
		return int64(math.Round(float64(sum) / float64(weights)))
	}
	return sum / weights
}

func (fitScore) normalize([]int64) {}

func (f *FitScoring) score(want, have int64) int64 {
	switch f.Strategy {
	case MostAllocated:
		return min(want, have) * maxScore / have
	case RequestedToCapacityRatio:
		return f.atUtilization(min(want, have) * 100 / have)
	}
	if want > have {
		return 0
	}
	return (have - want) * maxScore / have
}

// atUtilization follows the lines between the points of the shape.
func (f *FitScoring) atUtilization(u int64) int64 {
	const scale = maxScore / 10
	points := f.Shape
	for i, p := range points {
		if u > p.Utilization {
			continue
		}
		if i == 0 {
			return scale * p.Score
		}
		prev := points[i-1]
		return scale*prev.Score + scale*(p.Score-prev.Score)*(u-prev.Utilization)/(p.Utilization-prev.Utilization)
	}
	return scale * points[len(points)-1].Score
}

func (balancedScore) prepare(c *cycle) bool {
	for _, r := range c.prof.Balanced {
		if c.p.requests.of(r.Name) != 0 {
			return true
		}
	}
	return false
}

// score is best when all resources would be used to the same degree.
func (balancedScore) score(c *cycle, _ int, n *Node) int64 {
	var fractions [8]float64
	f := fractions[:0]
	var sum float64
	for _, r := range c.prof.Balanced {
		have := n.allocatable.of(r.Name)
		want := c.p.requests.of(r.Name)
		if have == 0 || extended(r.Name) && want == 0 {
			continue
		}
		x := min(1, float64(n.used.of(r.Name)+want)/float64(have))
		f = append(f, x)
		sum += x
	}
	var deviation float64
	switch len(f) {
	case 0, 1:
	case 2:
		deviation = math.Abs(f[0]-f[1]) / 2
	default:
		mean := sum / float64(len(f))
		for _, x := range f {
			deviation += (x - mean) * (x - mean)
		}
		deviation = math.Sqrt(deviation / float64(len(f)))
	}
	return int64((1 - deviation) * maxScore)
}

func (balancedScore) normalize([]int64) {}
