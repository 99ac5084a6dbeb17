package daemonset

import (
	"maps"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"

	"hyperkube/internal/controllers/history"
	"hyperkube/internal/controllers/podset"
	"hyperkube/internal/controllers/taints"
)

// verdict says whether a set's pod should be started on a node, and whether one that is there may stay.
type verdict struct{ run, stay bool }

// fit judges nodes for one set. It is made once for many nodes.
type fit struct {
	node        string // the only node, when the template names one
	affinity    nodeaffinity.RequiredNodeAffinity
	tolerations []corev1.Toleration
}

func newFit(ds *appsv1.DaemonSet) *fit {
	t := &ds.Spec.Template.Spec
	return &fit{
		node:        t.NodeName,
		affinity:    nodeaffinity.NewRequiredNodeAffinity(t.NodeSelector, t.Affinity),
		tolerations: tolerations(t),
	}
}

func (f *fit) on(n *corev1.Node) verdict {
	if f.node != "" && f.node != n.Name {
		return verdict{}
	}
	if ok, err := f.affinity.Match(n); err != nil || !ok {
		return verdict{}
	}
	if _, bad := taints.Untolerated(n.Spec.Taints, f.tolerations, corev1.TaintEffectNoExecute); bad {
		return verdict{}
	}
	if _, bad := taints.Untolerated(n.Spec.Taints, f.tolerations, corev1.TaintEffectNoSchedule); bad {
		return verdict{stay: true}
	}
	return verdict{run: true, stay: true}
}

// sameForSets says whether two states of a node are the same to every DaemonSet.
func sameForSets(a, b *corev1.Node) bool {
	return a.UID == b.UID && maps.Equal(a.Labels, b.Labels) && apiequality.Semantic.DeepEqual(a.Spec.Taints, b.Spec.Taints)
}

// tolerations are the template's and those that every daemon pod has: it stays on a node that is in trouble, and
// starts on one that is not ready yet, because it may be what makes it ready.
func tolerations(t *corev1.PodSpec) []corev1.Toleration {
	out := append([]corev1.Toleration(nil), t.Tolerations...)
	add := func(key string, effect corev1.TaintEffect) {
		want := corev1.Toleration{Key: key, Operator: corev1.TolerationOpExists, Effect: effect}
		for i := range out {
			if out[i].MatchToleration(&want) {
				return
			}
		}
		out = append(out, want)
	}
	add(corev1.TaintNodeNotReady, corev1.TaintEffectNoExecute)
	add(corev1.TaintNodeUnreachable, corev1.TaintEffectNoExecute)
	add(corev1.TaintNodeDiskPressure, corev1.TaintEffectNoSchedule)
	add(corev1.TaintNodeMemoryPressure, corev1.TaintEffectNoSchedule)
	add(corev1.TaintNodePIDPressure, corev1.TaintEffectNoSchedule)
	add(corev1.TaintNodeUnschedulable, corev1.TaintEffectNoSchedule)
	if t.HostNetwork {
		add(corev1.TaintNodeNetworkUnavailable, corev1.TaintEffectNoSchedule)
	}
	return out
}

// podFor is the set's pod for one node.
func podFor(ds *appsv1.DaemonSet, node, hash string) *corev1.Pod {
	pod := podset.FromTemplate(ds, kind, &ds.Spec.Template)
	if pod.Labels == nil {
		pod.Labels = map[string]string{}
	}
	pod.Labels[history.HashLabel] = hash
	if g := ds.Annotations[appsv1.DeprecatedTemplateGeneration]; g != "" {
		pod.Labels["pod-template-generation"] = g
	}
	pod.Spec.Tolerations = tolerations(&pod.Spec)
	if pod.Spec.Affinity == nil {
		pod.Spec.Affinity = &corev1.Affinity{}
	}
	if pod.Spec.Affinity.NodeAffinity == nil {
		pod.Spec.Affinity.NodeAffinity = &corev1.NodeAffinity{}
	}
	// The node was chosen by all of the template's terms already, so naming it replaces them.
	pod.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution = &corev1.NodeSelector{
		NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchFields: []corev1.NodeSelectorRequirement{{
			Key: "metadata.name", Operator: corev1.NodeSelectorOpIn, Values: []string{node},
		}}}},
	}
	return pod
}

// nodeOf is the node that a daemon pod is on, or is meant for while it is not bound.
func nodeOf(p *corev1.Pod) string {
	if p.Spec.NodeName != "" {
		return p.Spec.NodeName
	}
	if p.Spec.Affinity == nil || p.Spec.Affinity.NodeAffinity == nil || p.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return ""
	}
	for _, t := range p.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms {
		for _, r := range t.MatchFields {
			if r.Key == "metadata.name" && r.Operator == corev1.NodeSelectorOpIn && len(r.Values) == 1 {
				return r.Values[0]
			}
		}
	}
	return ""
}
