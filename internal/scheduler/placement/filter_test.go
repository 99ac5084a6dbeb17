package placement

import (
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// on puts a pod on a node.
type on struct {
	node string
	pod  *corev1.Pod
}

func stateOf(nodes []*corev1.Node, pods ...on) *State {
	s := NewState(7)
	for _, n := range nodes {
		s.SetNode(n)
	}
	for _, p := range pods {
		s.AddPod(NewPod(p.pod), p.node)
	}
	return s
}

func nodes(list ...*corev1.Node) []*corev1.Node { return list }

func placeNamed(terms ...string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		var t []corev1.NodeSelectorTerm
		for _, name := range terms {
			t = append(t, corev1.NodeSelectorTerm{MatchFields: []corev1.NodeSelectorRequirement{
				{Key: "metadata.name", Operator: corev1.NodeSelectorOpIn, Values: []string{name}}}})
		}
		p.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
			RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: t}}}
	}
}

func requiredLabel(key string, op corev1.NodeSelectorOperator, values ...string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
			NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: key, Operator: op, Values: values}}}}}}}
	}
}

func nodeSelector(k, v string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{k: v} }
}

func tolerates(key string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Tolerations = append(p.Spec.Tolerations, corev1.Toleration{Key: key, Operator: corev1.TolerationOpExists})
	}
}

func namespace(ns string) func(*corev1.Pod) { return func(p *corev1.Pod) { p.Namespace = ns } }

func deleted(p *corev1.Pod) {
	now := metav1.Now()
	p.DeletionTimestamp = &now
}

func minDomains(n int32) func(*corev1.TopologySpreadConstraint) {
	return func(k *corev1.TopologySpreadConstraint) { k.MinDomains = &n }
}

func taintsHonored(k *corev1.TopologySpreadConstraint) {
	honor := corev1.NodeInclusionPolicyHonor
	k.NodeTaintsPolicy = &honor
}

func affinityIgnored(k *corev1.TopologySpreadConstraint) {
	ignore := corev1.NodeInclusionPolicyIgnore
	k.NodeAffinityPolicy = &ignore
}

// TestFilters: want is the node, or the text of the failure.
func TestFilters(t *testing.T) {
	z := corev1.LabelTopologyZone
	h := corev1.LabelHostname
	big := requests("3", "1Gi")
	x := label("app", "x")
	abc := nodes(node("a", zone("1")), node("b", zone("1")), node("c", zone("2")))
	for _, c := range []struct {
		name  string
		nodes []*corev1.Node
		pods  []on
		pod   *corev1.Pod
		want  string
	}{
		{"no nodes", nil, nil, pod("p"), "no nodes available to schedule pods"},
		{"room", nodes(node("a")), nil, pod("p", big), "a"},
		{"cpu is taken", nodes(node("a")), []on{{"a", pod("q", big)}}, pod("p", big), "0/1 nodes are available: 1 Insufficient cpu."},
		{"cpu and memory are taken", nodes(node("a")), []on{{"a", pod("q", requests("3", "7Gi"))}}, pod("p", requests("3", "7Gi")),
			"0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory."},
		{"too many pods", nodes(node("a", allocatable("4", "8Gi", "1"))), []on{{"a", pod("q")}}, pod("p"), "0/1 nodes are available: 1 Too many pods."},
		{"no request fits a full node", nodes(node("a")), []on{{"a", pod("q", requests("4", "8Gi"))}}, pod("p"), "a"},
		{"an init container needs more than the containers", nodes(node("a")), []on{{"a", pod("q", requests("2", "1Gi"))}},
			pod("p", requests("1", "1Gi"), initContainer("3", false)), "0/1 nodes are available: 1 Insufficient cpu."},
		{"a sidecar adds to the containers", nodes(node("a")), []on{{"a", pod("q", requests("2", "1Gi"))}},
			pod("p", requests("1500m", "1Gi"), initContainer("1", true)), "0/1 nodes are available: 1 Insufficient cpu."},
		{"an extended resource that the node lacks", nodes(node("a")), nil, pod("p", extendedRequest("example.com/gpu", "1")),
			"0/1 nodes are available: 1 Insufficient example.com/gpu."},
		{"reasons are counted and sorted", nodes(node("a", taint("t", corev1.TaintEffectNoSchedule)), node("b", taint("t", corev1.TaintEffectNoExecute)), node("c")),
			[]on{{"c", pod("q", big)}}, pod("p", big), "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint(s)."},
		{"tolerated taint", nodes(node("a", taint("t", corev1.TaintEffectNoSchedule))), nil, pod("p", tolerates("t")), "a"},
		{"a preference keeps nobody away", nodes(node("a", taint("t", corev1.TaintEffectPreferNoSchedule))), nil, pod("p"), "a"},
		{"unschedulable", nodes(node("a", unschedulable)), nil, pod("p"), "0/1 nodes are available: 1 node(s) were unschedulable."},
		{"unschedulable is tolerated", nodes(node("a", unschedulable)), nil, pod("p", tolerates(corev1.TaintNodeUnschedulable)), "a"},
		{"node selector", nodes(node("a"), node("b", nodeLabel("disk", "ssd"))), nil, pod("p", nodeSelector("disk", "ssd")), "b"},
		{"node selector of nobody", nodes(node("a")), nil, pod("p", nodeSelector("disk", "ssd")),
			"0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."},
		{"node affinity by expression", abc, nil, pod("p", requiredLabel(z, corev1.NodeSelectorOpNotIn, "1")), "c"},
		{"named node", abc, nil, pod("p", placeNamed("b")), "b"},
		{"named node is full", nodes(node("a"), node("b", allocatable("1", "1Gi", "10"))), nil, pod("p", placeNamed("b"), big),
			"0/2 nodes are available: 1 Insufficient cpu, 1 node(s) didn't satisfy plugin(s) [NodeAffinity]."},
		{"same host port", nodes(node("a")), []on{{"a", pod("q", hostPortOf("", 80))}}, pod("p", hostPortOf("", 80)),
			"0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports."},
		{"all addresses conflict with one", nodes(node("a")), []on{{"a", pod("q", hostPortOf("10.0.0.1", 80))}}, pod("p", hostPortOf("0.0.0.0", 80)),
			"0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports."},
		{"two addresses do not", nodes(node("a")), []on{{"a", pod("q", hostPortOf("10.0.0.1", 80))}}, pod("p", hostPortOf("10.0.0.2", 80)), "a"},

		{"near", abc, []on{{"c", pod("q", x)}}, pod("p", near(term("app", "x", z))), "c"},
		{"near nobody", abc, nil, pod("p", near(term("app", "x", z))), "0/3 nodes are available: 3 node(s) didn't match pod affinity rules."},
		{"near oneself", nodes(node("a", zone("1"))), nil, pod("p", x, near(term("app", "x", z))), "a"},
		{"near oneself needs the label", nodes(node("a")), nil, pod("p", x, near(term("app", "x", z))), "0/1 nodes are available: 1 node(s) didn't match pod affinity rules."},
		{"near pods of another namespace", abc, []on{{"c", pod("q", x, namespace("other"))}}, pod("p", near(term("app", "x", z))),
			"0/3 nodes are available: 3 node(s) didn't match pod affinity rules."},
		{"near pods of a selected namespace", abc, []on{{"c", pod("q", x, namespace("other"))}}, pod("p", near(inNamespaces("team", "red"))), "c"},
		{"near pods that all terms mean", abc, []on{{"a", pod("q", x)}, {"c", pod("r", x, label("tier", "db"))}},
			pod("p", near(term("app", "x", z), term("tier", "db", z))), "c"},
		{"apart", nodes(node("a"), node("b")), []on{{"a", pod("q", x)}}, pod("p", apart(term("app", "x", h))), "b"},
		{"apart by zone", abc, []on{{"a", pod("q", x)}}, pod("p", apart(term("app", "x", z))), "c"},
		{"apart everywhere", nodes(node("a"), node("b")), []on{{"a", pod("q", x)}, {"b", pod("r", x)}}, pod("p", apart(term("app", "x", h))),
			"0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules."},
		{"others keep apart", abc, []on{{"a", pod("q", apart(term("app", "x", z)))}}, pod("p", x), "c"},
		{"others keep apart everywhere", nodes(node("a")), []on{{"a", pod("q", apart(term("app", "x", h)))}}, pod("p", x),
			"0/1 nodes are available: 1 node(s) didn't satisfy existing pods anti-affinity rules."},

		{"spread", abc, []on{{"a", pod("q", x)}}, pod("p", x, spread(1, z, corev1.DoNotSchedule)), "c"},
		{"spread over zones that are level", nodes(node("a", zone("1"))), []on{{"a", pod("q", x)}}, pod("p", x, spread(1, z, corev1.DoNotSchedule)), "a"},
		{"spread without the label", nodes(node("a")), nil, pod("p", x, spread(1, z, corev1.DoNotSchedule)),
			"0/1 nodes are available: 1 node(s) didn't match pod topology spread constraints (missing required label)."},
		{"spread is full", nodes(node("a", zone("1")), node("b", zone("2"), unschedulable)), []on{{"a", pod("q", x)}}, pod("p", x, spread(1, z, corev1.DoNotSchedule)),
			"0/2 nodes are available: 1 node(s) didn't match pod topology spread constraints, 1 node(s) were unschedulable."},
		{"spread over nodes that the pod tolerates", nodes(node("a", zone("1")), node("b", zone("2"), taint("t", corev1.TaintEffectNoSchedule))), []on{{"a", pod("q", x)}},
			pod("p", x, spread(1, z, corev1.DoNotSchedule, taintsHonored)), "a"},
		{"spread over nodes that the pod selects", nodes(node("a", zone("1"), nodeLabel("disk", "ssd")), node("b", zone("2"))), []on{{"a", pod("q", x)}},
			pod("p", x, nodeSelector("disk", "ssd"), spread(1, z, corev1.DoNotSchedule)), "a"},
		{"spread over all nodes", nodes(node("a", zone("1"), nodeLabel("disk", "ssd")), node("b", zone("2"))), []on{{"a", pod("q", x)}},
			pod("p", x, nodeSelector("disk", "ssd"), spread(1, z, corev1.DoNotSchedule, affinityIgnored)),
			"0/2 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 1 node(s) didn't match pod topology spread constraints."},
		{"fewer domains than wanted", nodes(node("a", zone("1"))), []on{{"a", pod("q", x)}}, pod("p", x, spread(1, z, corev1.DoNotSchedule, minDomains(2))),
			"0/1 nodes are available: 1 node(s) didn't match pod topology spread constraints."},
		{"pods on their way out do not count", nodes(node("a", zone("1")), node("b", zone("2"), unschedulable)), []on{{"a", pod("q", x, deleted)}},
			pod("p", x, spread(1, z, corev1.DoNotSchedule)), "a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := stateOf(c.nodes, c.pods...)
			s.SetNamespace("other", map[string]string{"team": "red"})
			r, err := s.Place(DefaultProfile(), NewPod(c.pod))
			got := r.Node
			if err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func initContainer(cpu string, sidecar bool) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		c := corev1.Container{Name: "init", Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu)}}}
		if sidecar {
			always := corev1.ContainerRestartPolicyAlways
			c.RestartPolicy = &always
		}
		p.Spec.InitContainers = append(p.Spec.InitContainers, c)
	}
}

func extendedRequest(name corev1.ResourceName, n string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{name: resource.MustParse(n)}
	}
}

func unschedulable(n *corev1.Node) {
	n.Spec.Unschedulable = true
	n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule})
}

func inNamespaces(k, v string) corev1.PodAffinityTerm {
	t := term("app", "x", corev1.LabelTopologyZone)
	t.NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{k: v}}
	return t
}

// TestTalliesFollowChanges holds tallies that followed random changes against those made anew.
func TestTalliesFollowChanges(t *testing.T) {
	s := NewState(3)
	rng := s.rng
	ask := []*Pod{
		NewPod(pod("ask1", label("app", "x"), spread(1, corev1.LabelTopologyZone, corev1.DoNotSchedule))),
		NewPod(pod("ask2", label("app", "x"), spread(1, corev1.LabelHostname, corev1.DoNotSchedule, taintsHonored))),
		NewPod(pod("ask3", apart(term("app", "x", corev1.LabelTopologyZone)))),
	}
	prof := DefaultProfile()
	zones, apps := []string{"1", "2", "3"}, []string{"x", "y"}
	for step := range 4000 {
		name := "n" + string(rune('a'+rng.IntN(8)))
		switch rng.IntN(6) {
		case 0:
			n := node(name, zone(zones[rng.IntN(3)]))
			if rng.IntN(3) == 0 {
				taint("t", corev1.TaintEffectNoSchedule)(n)
			}
			s.SetNode(n)
		case 1:
			s.RemoveNode(name)
		case 2, 3:
			p := pod("p"+string(rune('a'+rng.IntN(20))), label("app", apps[rng.IntN(2)]))
			if rng.IntN(4) == 0 {
				apart(term("app", "x", corev1.LabelTopologyZone))(p)
			}
			s.AddPod(NewPod(p), name)
		case 4:
			s.RemovePod(types.UID("p" + string(rune('a'+rng.IntN(20)))))
		case 5:
			for _, p := range ask {
				_, err := s.Place(prof, p)
				var f *Failure
				if err != nil && !errors.As(err, &f) {
					t.Fatal(err)
				}
			}
		}
		if step%50 == 0 {
			checkTallies(t, s)
		}
	}
	if len(s.tallies.byKey) < 3 {
		t.Fatalf("only %d tallies were made", len(s.tallies.byKey))
	}
}

func checkTallies(t *testing.T, s *State) {
	t.Helper()
	for key, have := range s.tallies.byKey {
		want := &tally{topology: have.topology, matches: have.matches, namespaces: have.namespaces, eligible: have.eligible, withMinimum: have.withMinimum}
		s.fill(want)
		if have.total != want.total || have.domains != want.domains || have.withMinimum && have.least != want.least {
			t.Fatalf("%s: total %d domains %d least %d, want %d %d %d", key, have.total, have.domains, have.least, want.total, want.domains, want.least)
		}
		for d := range max(len(have.counts), len(want.counts)) {
			if have.count(int32(d)) != want.count(int32(d)) {
				t.Fatalf("%s: domain %d has %d, want %d", key, d, have.count(int32(d)), want.count(int32(d)))
			}
		}
	}
	for key, g := range s.carried.anti {
		sum, carriers := int64(0), 0
		for _, c := range g.counts {
			sum += c
		}
		for _, p := range s.pods {
			if p.node.Object == nil {
				continue
			}
			for _, term := range p.antiAffinity {
				if term.key == key {
					carriers++
				}
			}
		}
		if carriers != g.carriers || sum != int64(carriers) {
			t.Fatalf("%s: %d carriers with a sum of %d, want %d", key, g.carriers, sum, carriers)
		}
	}
}

func TestDisabledFiltersLetThrough(t *testing.T) {
	s := stateOf(nodes(node("a", taint("t", corev1.TaintEffectNoSchedule))))
	prof := DefaultProfile()
	prof.Filters = prof.Filters.Without(TaintToleration)
	if r, err := s.Place(prof, NewPod(pod("p"))); err != nil || r.Node != "a" {
		t.Errorf("got %v, %v", r, err)
	}
}

func TestBadSelectorIsNoFailureOfNodes(t *testing.T) {
	bad := term("app", "x", corev1.LabelHostname)
	bad.LabelSelector.MatchExpressions = []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Near"}}
	_, err := stateOf(nodes(node("a"))).Place(DefaultProfile(), NewPod(pod("p", near(bad))))
	var f *Failure
	if err == nil || errors.As(err, &f) || !strings.Contains(err.Error(), "Near") {
		t.Errorf("got %v", err)
	}
}

func TestSampling(t *testing.T) {
	for _, c := range []struct {
		nodes, want int
		percent     int32
	}{{50, 50, 0}, {100, 100, 0}, {1000, 420, 0}, {5000, 500, 0}, {10000, 500, 0}, {1000, 1000, 100}, {1000, 100, 5}, {1000, 300, 30}} {
		if got := sampleSize(c.nodes, c.percent); got != c.want {
			t.Errorf("%d nodes at %d %%: %d, want %d", c.nodes, c.percent, got, c.want)
		}
	}
}
