package placement

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// only is a profile in which one plugin scores.
func only(p Plugin, edits ...func(*Profile)) *Profile {
	prof := DefaultProfile()
	prof.Weights = [pluginCount]int64{}
	prof.Weights[p] = 1
	for _, e := range edits {
		e(prof)
	}
	return prof
}

func scoresOf(s *State, prof *Profile, p *corev1.Pod) map[string]int64 {
	c := s.begin(prof, NewPod(p))
	c.search()
	c.rank()
	out := map[string]int64{}
	for i, n := range c.feasible {
		out[n.Name] = c.scores[i]
	}
	return out
}

func TestScores(t *testing.T) {
	x := label("app", "x")
	z := corev1.LabelTopologyZone
	preferSSD := func(p *corev1.Pod) {
		p.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{PreferredDuringSchedulingIgnoredDuringExecution: []corev1.PreferredSchedulingTerm{
			{Weight: 10, Preference: corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "disk", Operator: corev1.NodeSelectorOpIn, Values: []string{"ssd"}}}}},
			{Weight: 30, Preference: corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "fast", Operator: corev1.NodeSelectorOpExists}}}},
		}}}
	}
	preferNear := func(weight int32, away bool) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			w := []corev1.WeightedPodAffinityTerm{{Weight: weight, PodAffinityTerm: term("app", "x", z)}}
			if away {
				p.Spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{PreferredDuringSchedulingIgnoredDuringExecution: w}}
			} else {
				p.Spec.Affinity = &corev1.Affinity{PodAffinity: &corev1.PodAffinity{PreferredDuringSchedulingIgnoredDuringExecution: w}}
			}
		}
	}
	image := func(n *corev1.Node) {
		n.Status.Images = []corev1.ContainerImage{{Names: []string{"i:latest"}, SizeBytes: 600 << 20}}
	}
	zones := nodes(node("a", zone("1")), node("b", zone("2")))
	for _, c := range []struct {
		name  string
		prof  *Profile
		nodes []*corev1.Node
		pods  []on
		pod   *corev1.Pod
		want  map[string]int64
	}{
		{"least allocated", only(NodeResourcesFit), nodes(node("a"), node("b")), []on{{"a", pod("q", requests("2", "4Gi"))}}, pod("p", requests("1", "2Gi")),
			map[string]int64{"a": 25, "b": 75}},
		{"containers without requests count a little", only(NodeResourcesFit), nodes(node("a", allocatable("1", "2000Mi", "10"))), nil, pod("p"), map[string]int64{"a": 90}},
		{"most allocated", only(NodeResourcesFit, func(p *Profile) { p.Fit.Strategy = MostAllocated }), nodes(node("a"), node("b")), []on{{"a", pod("q", requests("2", "4Gi"))}},
			pod("p", requests("1", "2Gi")), map[string]int64{"a": 75, "b": 25}},
		{"by shape", only(NodeResourcesFit, func(p *Profile) {
			p.Fit.Strategy, p.Fit.Shape = RequestedToCapacityRatio, []ShapePoint{{0, 0}, {50, 10}, {100, 0}}
		}), nodes(node("a"), node("b")), []on{{"a", pod("q", requests("2", "4Gi"))}}, pod("p", requests("1", "2Gi")), map[string]int64{"a": 50, "b": 50}},
		{"balanced", only(NodeResourcesBalancedAllocation), nodes(node("a"), node("b")), []on{{"a", pod("q", requests("2", "0"))}}, pod("p", requests("1", "2Gi")),
			map[string]int64{"a": 75, "b": 100}},
		{"taints that prefer", only(TaintToleration), nodes(node("a", taint("t", corev1.TaintEffectPreferNoSchedule)), node("b")), nil, pod("p"), map[string]int64{"a": 0, "b": 100}},
		{"node preferences", only(NodeAffinity), nodes(node("a", nodeLabel("disk", "ssd")), node("b", nodeLabel("fast", "")), node("c")), nil, pod("p", preferSSD),
			map[string]int64{"a": 33, "b": 100, "c": 0}},
		{"images", only(ImageLocality), nodes(node("a", image), node("b")), nil, pod("p"), map[string]int64{"a": 28, "b": 0}},
		{"prefers near", only(InterPodAffinity), zones, []on{{"a", pod("q", x)}}, pod("p", preferNear(5, false)), map[string]int64{"a": 100, "b": 0}},
		{"prefers away", only(InterPodAffinity), zones, []on{{"a", pod("q", x)}}, pod("p", preferNear(5, true)), map[string]int64{"a": 0, "b": 100}},
		{"others prefer it near", only(InterPodAffinity), zones, []on{{"b", pod("q", preferNear(5, false))}}, pod("p", x), map[string]int64{"a": 0, "b": 100}},
		{"others require it near", only(InterPodAffinity), zones, []on{{"b", pod("q", x, near(term("app", "x", z)))}}, pod("p", x), map[string]int64{"a": 0, "b": 100}},
		{"soft spread", only(PodTopologySpread), zones, []on{{"a", pod("q", x)}, {"a", pod("r", x)}}, pod("p", x, spread(1, z, corev1.ScheduleAnyway)), map[string]int64{"a": 0, "b": 100}},
		{"soft spread without the label", only(PodTopologySpread), nodes(node("a", zone("1")), node("b")), nil, pod("p", x, spread(1, z, corev1.ScheduleAnyway)), map[string]int64{"a": 100, "b": 0}},
		{"default spread", only(PodTopologySpread), zones, []on{{"a", pod("q", x)}, {"a", pod("r", x)}}, pod("p", x), map[string]int64{"a": 50, "b": 100}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := stateOf(c.nodes, c.pods...)
			s.SelectorFor = func(p *corev1.Pod) labels.Selector { return labels.SelectorFromSet(labels.Set{"app": "x"}) }
			got := scoresOf(s, c.prof, c.pod)
			for name, want := range c.want {
				if got[name] != want {
					t.Errorf("%s has %d, want %d", name, got[name], want)
				}
			}
		})
	}
}

func budgetFor(k, v string, allowed int32) *policyv1.PodDisruptionBudget {
	most := intstr.FromInt32(1)
	return &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: k + v},
		Spec:       policyv1.PodDisruptionBudgetSpec{MinAvailable: &most, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{k: v}}},
		Status:     policyv1.PodDisruptionBudgetStatus{DisruptionsAllowed: allowed},
	}
}

func TestPreempt(t *testing.T) {
	half := requests("2", "1Gi")
	big := requests("4", "1Gi")
	for _, c := range []struct {
		name    string
		nodes   []*corev1.Node
		pods    []on
		pod     *corev1.Pod
		budgets []*policyv1.PodDisruptionBudget
		node    string
		victims []string
		why     string
	}{
		{name: "the lowest priority goes", nodes: nodes(node("a"), node("b")),
			pods: []on{{"a", pod("low", big, priority(1))}, {"b", pod("mid", big, priority(5))}}, pod: pod("p", big, priority(10)), node: "a", victims: []string{"low"}},
		{name: "as few as needed", nodes: nodes(node("a")),
			pods: []on{{"a", pod("l1", half, priority(1))}, {"a", pod("l2", half, priority(2))}}, pod: pod("p", half, priority(10)), node: "a", victims: []string{"l1"}},
		{name: "a budget is spared", nodes: nodes(node("a"), node("b")),
			pods: []on{{"a", pod("kept", big, priority(1), label("app", "x"))}, {"b", pod("other", big, priority(5))}}, pod: pod("p", big, priority(10)),
			budgets: []*policyv1.PodDisruptionBudget{budgetFor("app", "x", 0)}, node: "b", victims: []string{"other"}},
		{name: "equals stay", nodes: nodes(node("a")), pods: []on{{"a", pod("q", big, priority(10))}}, pod: pod("p", big, priority(10)),
			why: "0/1 nodes are available: 1 No preemption victims found for incoming pod."},
		{name: "it would not help", nodes: nodes(node("a", taint("t", corev1.TaintEffectNoSchedule))), pods: []on{{"a", pod("q", big, priority(1))}}, pod: pod("p", big, priority(10)),
			why: "0/1 nodes are available: 1 Preemption is not helpful for scheduling."},
		{name: "the pod is polite", nodes: nodes(node("a")), pods: []on{{"a", pod("q", big)}}, pod: pod("p", big, priority(10), polite), why: "not eligible due to preemptionPolicy=Never."},
		{name: "anti-affinity goes with its pod", nodes: nodes(node("a")),
			pods: []on{{"a", pod("q", priority(1), apart(term("app", "x", corev1.LabelHostname)))}, {"a", pod("r", priority(1))}},
			pod:  pod("p", label("app", "x"), priority(10)), node: "a", victims: []string{"q"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := stateOf(c.nodes, c.pods...)
			p := NewPod(c.pod)
			_, err := s.Place(DefaultProfile(), p)
			f, ok := err.(*Failure)
			if !ok {
				t.Fatalf("placed: %v", err)
			}
			got := s.Preempt(DefaultProfile(), p, f, c.budgets)
			checkTallies(t, s)
			if got == nil {
				if c.node != "" || f.Preemption != c.why {
					t.Fatalf("no victims: %q, want %q", f.Preemption, c.why)
				}
				return
			}
			var names []string
			for _, v := range got.Victims {
				names = append(names, v.Name)
			}
			if got.Node != c.node || len(names) != len(c.victims) || names[0] != c.victims[0] {
				t.Errorf("got %s %v, want %s %v", got.Node, names, c.node, c.victims)
			}
		})
	}
}

func polite(p *corev1.Pod) {
	never := corev1.PreemptNever
	p.Spec.PreemptionPolicy = &never
}

func TestNominatedNodeIsKept(t *testing.T) {
	s := stateOf(nodes(node("a")))
	vip := NewPod(pod("vip", requests("4", "1Gi"), priority(10)))
	s.Nominate(vip, "a")
	if r, err := s.Place(DefaultProfile(), NewPod(pod("p", requests("1", "1Gi")))); err == nil {
		t.Errorf("a pod of lower priority took the place: %v", r)
	}
	if r, err := s.Place(DefaultProfile(), NewPod(pod("boss", requests("1", "1Gi"), priority(20)))); err != nil || r.Node != "a" {
		t.Errorf("a pod of higher priority did not get it: %v %v", r, err)
	}
	if r, err := s.Place(DefaultProfile(), vip); err != nil || r.Node != "a" {
		t.Errorf("the pod itself did not get it: %v %v", r, err)
	}
}
