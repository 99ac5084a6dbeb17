package placement

import (
	"math"
	"sort"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// spreadConstraint is one topology spread constraint made ready: KEP-895, with minDomains (KEP-3022), node
// inclusion policies (KEP-3094) and matchLabelKeys (KEP-3243).
type spreadConstraint struct {
	*tally
	maxSkew, minDomains int32
	self                int32 // 1 when the pod itself matches
	host                bool
	weight              float64 // of soft ones
}

type spreadFilter struct{}

func (spreadFilter) prepare(c *cycle) bool {
	in := c.p.Object.Spec.TopologySpreadConstraints
	if len(in) == 0 && !c.prof.SystemSpread {
		c.spread = c.constraints(c.spread, c.prof.DefaultSpread, corev1.DoNotSchedule, c.defaultSelector(), true)
	} else {
		c.spread = c.constraints(c.spread, in, corev1.DoNotSchedule, nil, true)
	}
	return len(c.spread) > 0
}

func (spreadFilter) filter(c *cycle, n *Node) *verdict {
	for i := range c.spread {
		k := &c.spread[i]
		d := n.domains[k.topology]
		if d < 0 {
			return &refusedSpreadLabel
		}
		least := k.least
		if k.domains < k.minDomains {
			least = 0
		}
		if k.count(d)+k.self-least > k.maxSkew {
			return &refusedSpread
		}
	}
	return nil
}

// defaultSelector is what default constraints count: pods of the same services and the same owner.
func (c *cycle) defaultSelector() labels.Selector {
	if c.s.SelectorFor == nil {
		return labels.Nothing()
	}
	sel := c.s.SelectorFor(c.p.Object)
	if sel == nil || sel.Empty() {
		return labels.Nothing()
	}
	return sel
}

// constraints makes those of one kind ready. defaults is the selector of default constraints, nil for the pod's own.
func (c *cycle) constraints(out []spreadConstraint, in []corev1.TopologySpreadConstraint, when corev1.UnsatisfiableConstraintAction, defaults labels.Selector, demandLabels bool) []spreadConstraint {
	if defaults != nil && selectorKey(defaults) == "!" {
		return out
	}
	var keys []string
	for i := range in {
		if in[i].WhenUnsatisfiable == when {
			keys = append(keys, in[i].TopologyKey)
		}
	}
	if len(keys) == 0 {
		return out
	}
	sort.Strings(keys)
	if !demandLabels {
		keys = nil
	}
	pod := c.p.Object
	for i := range in {
		k := &in[i]
		if k.WhenUnsatisfiable != when {
			continue
		}
		sel := defaults
		if sel == nil {
			var err error
			if sel, err = metav1.LabelSelectorAsSelector(k.LabelSelector); err != nil {
				c.p.err = err
				continue
			}
			sel = withKeys(sel, pod.Labels, k.MatchLabelKeys, false)
		}
		out = append(out, c.constraint(k, sel, keys, when == corev1.DoNotSchedule))
	}
	return out
}

func (c *cycle) constraint(k *corev1.TopologySpreadConstraint, sel labels.Selector, keys []string, hard bool) spreadConstraint {
	s, pod := c.s, c.p.Object
	affinity := k.NodeAffinityPolicy == nil || *k.NodeAffinityPolicy == corev1.NodeInclusionPolicyHonor
	taints := k.NodeTaintsPolicy != nil && *k.NodeTaintsPolicy == corev1.NodeInclusionPolicyHonor
	affinity = affinity && (len(pod.Spec.NodeSelector) > 0 || pod.Spec.Affinity != nil && pod.Spec.Affinity.NodeAffinity != nil)
	var key strings.Builder
	key.WriteString("spread|" + pod.Namespace + "|" + selectorKey(sel) + "|" + k.TopologyKey + "|" + strings.Join(keys, ",") + "|")
	if hard {
		key.WriteString("min|")
	}
	if affinity || taints {
		if affinity {
			key.WriteString("affinity|")
		}
		if taints {
			key.WriteString("taints|")
		}
		// The template holds selectors, affinity and tolerations; that it holds more only costs a few tallies.
		key.WriteString(c.p.template)
	}
	t := s.tally(key.String(), func() *tally {
		return &tally{
			topology:    s.topology(k.TopologyKey),
			namespaces:  []string{pod.Namespace},
			withMinimum: hard,
			eligible:    c.eligibility(keys, affinity, taints),
			matches: func(_ *State, p *Pod) bool {
				return p.Object.DeletionTimestamp == nil && sel.Matches(labels.Set(p.Object.Labels))
			},
		}
	})
	out := spreadConstraint{tally: t, maxSkew: k.MaxSkew, minDomains: 1, host: k.TopologyKey == corev1.LabelHostname}
	if k.MinDomains != nil {
		out.minDomains = *k.MinDomains
	}
	if sel.Matches(labels.Set(pod.Labels)) {
		out.self = 1
	}
	return out
}

// eligibility says on which nodes pods are counted. It outlives the cycle.
func (c *cycle) eligibility(keys []string, affinity, taints bool) func(*Node) bool {
	required, tolerations := c.tpl.required, c.p.Object.Spec.Tolerations
	return func(n *Node) bool {
		for _, k := range keys {
			if _, ok := n.Object.Labels[k]; !ok {
				return false
			}
		}
		if affinity {
			if ok, err := required.Match(n.Object); err != nil || !ok {
				return false
			}
		}
		return !taints || toleratesAll(tolerations, n.Object.Spec.Taints)
	}
}

// spreadScore prefers domains with few matching pods, for the constraints that do not forbid anything.
type spreadScore struct {
	constraints  []spreadConstraint
	demandLabels bool
	ignored      []bool
}

func (x *spreadScore) prepare(c *cycle) bool {
	in := c.p.Object.Spec.TopologySpreadConstraints
	x.demandLabels = true
	var defaults labels.Selector
	if len(in) == 0 {
		in, defaults = c.prof.DefaultSpread, c.defaultSelector()
		x.demandLabels = !c.prof.SystemSpread
	}
	x.constraints = c.constraints(nil, in, corev1.ScheduleAnyway, defaults, x.demandLabels)
	if len(x.constraints) == 0 {
		return false
	}
	x.weigh(c)
	return true
}

// weigh gives each constraint a weight that grows with the number of its domains.
func (x *spreadScore) weigh(c *cycle) {
	x.ignored = make([]bool, len(c.feasible))
	ignored := 0
	for i, n := range c.feasible {
		for j := range x.constraints {
			if x.demandLabels && n.domains[x.constraints[j].topology] < 0 {
				x.ignored[i] = true
			}
		}
		if x.ignored[i] {
			ignored++
		}
	}
	for j := range x.constraints {
		k := &x.constraints[j]
		size := len(c.feasible) - ignored
		if !k.host {
			seen := map[int32]bool{}
			for i, n := range c.feasible {
				if d := n.domains[k.topology]; d >= 0 && !x.ignored[i] {
					seen[d] = true
				}
			}
			size = len(seen)
		}
		k.weight = math.Log(float64(size + 2))
	}
}

func (x *spreadScore) score(c *cycle, i int, n *Node) int64 {
	if x.ignored[i] {
		return 0
	}
	var sum float64
	for j := range x.constraints {
		k := &x.constraints[j]
		if d := n.domains[k.topology]; d >= 0 {
			sum += float64(k.count(d))*k.weight + float64(k.maxSkew-1)
		}
	}
	return int64(math.Round(sum))
}

func (x *spreadScore) normalize(scores []int64) {
	least, most := int64(math.MaxInt64), int64(math.MinInt64)
	for i, s := range scores {
		if !x.ignored[i] {
			least, most = min(least, s), max(most, s)
		}
	}
	for i := range scores {
		switch {
		case x.ignored[i]:
			scores[i] = 0
		case most == 0:
			scores[i] = maxScore
		default:
			scores[i] = maxScore * (most + least - scores[i]) / most
		}
	}
}
