package placement

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// Preemption is a node on which a pod could go if the victims left.
type Preemption struct {
	Node    string
	Victims []*corev1.Pod
	// Lower are pods of lower priority that were nominated to the node and must look anew.
	Lower []*corev1.Pod

	violations int
	highest    int32
	sum        int64
	start      time.Time // of the victim of the highest priority that started first
}

// Preempt looks for a node on which pods of lower priority can make room, after Place failed with f. It changes nothing. When there
// is none it gives nil, and sets f.Preemption to why.
func (s *State) Preempt(prof *Profile, p *Pod, f *Failure, budgets []*policyv1.PodDisruptionBudget) *Preemption {
	if !prof.Preempts || f.Nodes == 0 {
		return nil
	}
	if why := s.mayPreempt(p, f); why != "" {
		f.Preemption = why
		return nil
	}
	c := s.begin(prof, p)
	want := max(f.Nodes*int(prof.MinCandidatePercent)/100, int(prof.MinCandidates))
	reasons := map[string]int{}
	var helpful []*Node
	for _, v := range f.verdicts {
		if v.code == Unschedulable && v.node.Object != nil {
			helpful = append(helpful, v.node)
		}
	}
	if rest := f.Nodes - len(helpful); rest > 0 {
		reasons[reasonPreemptionUseful] = rest
	}
	var best *Preemption
	found := 0
	budget := parseBudgets(budgets)
	if len(helpful) > 0 {
		offset := s.rng.IntN(len(helpful))
		for i := range helpful {
			n := helpful[(offset+i)%len(helpful)]
			k := c.victims(n, budget)
			if k == nil {
				reasons[reasonNoVictims]++
				continue
			}
			if best == nil || k.better(best) {
				best = k
			}
			if found++; found >= want {
				break
			}
		}
	}
	if best == nil {
		f.Preemption = summary(f.Nodes, reasons)
	}
	return best
}

// mayPreempt says why the pod may not preempt now; "" when it may.
func (s *State) mayPreempt(p *Pod, f *Failure) string {
	if pol := p.Object.Spec.PreemptionPolicy; pol != nil && *pol == corev1.PreemptNever {
		return "not eligible due to preemptionPolicy=Never."
	}
	nominated := p.Object.Status.NominatedNodeName
	if nominated == "" {
		nominated = s.NominatedNode(p.UID())
	}
	n := s.Node(nominated)
	if n == nil {
		return ""
	}
	for _, v := range f.verdicts {
		if v.node == n && v.code == Unresolvable {
			return ""
		}
	}
	for _, other := range n.pods {
		if other.Priority < p.Priority && other.Object.DeletionTimestamp != nil && preempted(other.Object) {
			return "not eligible due to a terminating pod on the nominated node."
		}
	}
	return ""
}

func preempted(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.DisruptionTarget {
			return c.Status == corev1.ConditionTrue && c.Reason == corev1.PodReasonPreemptionByScheduler
		}
	}
	return false
}

// victims tries the node without the pods of lower priority and then lets as many stay as fit, those whose disruption a
// budget forbids and the important ones first. nil: it would not help. The state is as before when it returns.
func (c *cycle) victims(n *Node, budgets []budget) *Preemption {
	s := c.s
	var lower []*Pod
	for _, p := range n.pods {
		if p.Priority < c.p.Priority {
			lower = append(lower, p)
		}
	}
	if len(lower) == 0 {
		return nil
	}
	for _, p := range lower {
		s.detach(p)
	}
	gone := slices.Clone(lower)
	defer func() {
		for _, p := range gone {
			s.attach(p, n)
		}
	}()
	if c.checkNominated(n) != nil {
		return nil
	}
	slices.SortStableFunc(lower, moreImportant)
	protected, rest := splitByBudget(lower, budgets)
	out := &Preemption{Node: n.Name, highest: -1 << 31}
	reprieve := func(p *Pod) bool {
		s.attach(p, n)
		if c.checkNominated(n) == nil {
			gone = slices.DeleteFunc(gone, func(o *Pod) bool { return o == p })
			return true
		}
		s.detach(p)
		out.addVictim(p)
		return false
	}
	for _, p := range protected {
		if !reprieve(p) {
			out.violations++
		}
	}
	for _, p := range rest {
		reprieve(p)
	}
	for _, g := range n.nominated {
		if g.Priority < c.p.Priority {
			out.Lower = append(out.Lower, g.Object)
		}
	}
	if len(out.Victims) == 0 {
		return nil
	}
	return out
}

func (k *Preemption) addVictim(p *Pod) {
	k.Victims = append(k.Victims, p.Object)
	// Priorities may be negative; shifted so that one victim is always better than two.
	k.sum += int64(p.Priority) + 1<<31
	start := startOf(p.Object)
	switch {
	case p.Priority > k.highest:
		k.highest, k.start = p.Priority, start
	case p.Priority == k.highest && start.Before(k.start):
		k.start = start
	}
}

// better is upstream's order: fewer broken budgets, a lower highest victim, a lower sum of priorities, fewer
// victims, victims that started later.
func (k *Preemption) better(o *Preemption) bool {
	switch {
	case k.violations != o.violations:
		return k.violations < o.violations
	case k.highest != o.highest:
		return k.highest < o.highest
	case k.sum != o.sum:
		return k.sum < o.sum
	case len(k.Victims) != len(o.Victims):
		return len(k.Victims) < len(o.Victims)
	}
	return k.start.After(o.start)
}

// moreImportant orders by priority, then by age.
func moreImportant(a, b *Pod) int {
	if a.Priority != b.Priority {
		return int(int64(b.Priority) - int64(a.Priority))
	}
	return startOf(a.Object).Compare(startOf(b.Object))
}

func startOf(p *corev1.Pod) time.Time {
	if p.Status.StartTime != nil {
		return p.Status.StartTime.Time
	}
	return p.CreationTimestamp.Time
}

// budget is a disruption budget made ready.
type budget struct {
	namespace string
	selector  labels.Selector
	allowed   int32
	disrupted map[string]metav1.Time
}

func parseBudgets(in []*policyv1.PodDisruptionBudget) (out []budget) {
	for _, b := range in {
		sel, err := metav1.LabelSelectorAsSelector(b.Spec.Selector)
		if err != nil {
			continue // it protects nothing
		}
		out = append(out, budget{b.Namespace, sel, b.Status.DisruptionsAllowed, b.Status.DisruptedPods})
	}
	return out
}

// splitByBudget tells the pods, in order, whose disruption would break a budget.
func splitByBudget(pods []*Pod, budgets []budget) (protected, rest []*Pod) {
	left := make([]int32, len(budgets))
	for i := range budgets {
		left[i] = budgets[i].allowed
	}
	for _, p := range pods {
		broken := false
		for i := range budgets {
			b := &budgets[i]
			if b.namespace != p.Object.Namespace || !b.selector.Matches(labels.Set(p.Object.Labels)) {
				continue
			}
			if _, already := b.disrupted[p.Object.Name]; already {
				continue
			}
			if left[i]--; left[i] < 0 {
				broken = true
			}
		}
		if broken {
			protected = append(protected, p)
		} else {
			rest = append(rest, p)
		}
	}
	return protected, rest
}
