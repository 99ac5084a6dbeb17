package podspec

import (
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Warnings tells of fields of a pod or template that are deprecated or that do not do what one might think. at is the path of what the
// metadata and the specification are in: nil for a pod.
func Warnings(annotations map[string]string, spec *corev1.PodSpec, at *field.Path) []string {
	metadata, p := at.Child("metadata"), at.Child("spec")
	out := nodeWarnings(spec, p)
	out = append(out, affinityWarnings(spec.Affinity, p.Child("affinity"))...)
	for i := range spec.TopologySpreadConstraints {
		out = append(out, matchesNothing(spec.TopologySpreadConstraints[i].LabelSelector, p.Child("topologySpreadConstraints").Index(i))...)
	}
	for _, key := range slices.Sorted(maps.Keys(deadAnnotations)) {
		if _, there := annotations[key]; there {
			out = append(out, metadata.Child("annotations").Key(key).String()+": "+deadAnnotations[key])
		}
	}
	ips := sets.Set[string]{}
	for i, a := range spec.HostAliases {
		if ips.Has(a.IP) {
			out = append(out, fmt.Sprintf("%s: duplicate ip %q", p.Child("hostAliases").Index(i).Child("ip"), a.IP))
		}
		ips.Insert(a.IP)
	}
	out = append(out, pullSecretWarnings(spec.ImagePullSecrets, p.Child("imagePullSecrets"))...)
	out = append(out, volumeWarnings(spec.Volumes, p.Child("volumes"))...)
	out = append(out, profileWarnings(annotations, metadata.Child("annotations"))...)
	out = append(out, containersWarnings(spec, p)...)
	if g := spec.TerminationGracePeriodSeconds; g != nil && *g < 0 {
		out = append(out, p.Child("terminationGracePeriodSeconds").String()+": must be >= 0; negative values are invalid and will be treated as 1")
	}
	return out
}

// deadAnnotations are those that fields have taken the place of.
var deadAnnotations = map[string]string{
	"scheduler.alpha.kubernetes.io/critical-pod":  `non-functional in v1.16+; use the "priorityClassName" field instead`,
	"security.alpha.kubernetes.io/sysctls":        `non-functional in v1.11+; use the "sysctls" field instead`,
	"security.alpha.kubernetes.io/unsafe-sysctls": `non-functional in v1.11+; use the "sysctls" field instead`,
}

// oldLabels are names that labels of nodes had, when they lost them and what they are called now.
var oldLabels = map[string]struct{ since, now string }{
	corev1.LabelFailureDomainBetaZone:   {"v1.17", corev1.LabelTopologyZone},
	corev1.LabelFailureDomainBetaRegion: {"v1.17", corev1.LabelTopologyRegion},
	corev1.LabelInstanceType:            {"v1.17", corev1.LabelInstanceTypeStable},
	"beta.kubernetes.io/arch":           {"v1.14", corev1.LabelArchStable},
	"beta.kubernetes.io/os":             {"v1.14", corev1.LabelOSStable},
}

// RenamedLabel is what an old label of nodes is called now; empty for all others.
func RenamedLabel(key string) string { return oldLabels[key].now }

func nodeWarnings(spec *corev1.PodSpec, at *field.Path) []string {
	var out []string
	for _, key := range slices.Sorted(maps.Keys(spec.NodeSelector)) {
		if l, old := oldLabels[key]; old {
			out = append(out, fmt.Sprintf("%s: deprecated since %s; use %q instead", at.Child("nodeSelector").Key(key), l.since, l.now))
		}
	}
	return out
}

func affinityWarnings(a *corev1.Affinity, at *field.Path) []string {
	if a == nil {
		return nil
	}
	const required, preferred = "requiredDuringSchedulingIgnoredDuringExecution", "preferredDuringSchedulingIgnoredDuringExecution"
	var out []string
	if n := a.NodeAffinity; n != nil {
		p := at.Child("nodeAffinity")
		if r := n.RequiredDuringSchedulingIgnoredDuringExecution; r != nil {
			out = append(out, NodeSelectorWarnings(r, p.Child(required))...)
		}
		for i := range n.PreferredDuringSchedulingIgnoredDuringExecution {
			q := p.Child(preferred).Index(i).Child("preference")
			term := &n.PreferredDuringSchedulingIgnoredDuringExecution[i].Preference
			out = append(append(out, nodeTermWarnings(term, q)...), nodeValueWarnings(term, q)...)
		}
	}
	terms := func(hard []corev1.PodAffinityTerm, soft []corev1.WeightedPodAffinityTerm, p *field.Path) {
		for i := range hard {
			out = append(out, matchesNothing(hard[i].LabelSelector, p.Child(required).Index(i))...)
		}
		for i := range soft {
			out = append(out, matchesNothing(soft[i].PodAffinityTerm.LabelSelector, p.Child(preferred).Index(i).Child("podAffinityTerm"))...)
		}
	}
	if n := a.PodAffinity; n != nil {
		terms(n.RequiredDuringSchedulingIgnoredDuringExecution, n.PreferredDuringSchedulingIgnoredDuringExecution, at.Child("podAffinity"))
	}
	if n := a.PodAntiAffinity; n != nil {
		terms(n.RequiredDuringSchedulingIgnoredDuringExecution, n.PreferredDuringSchedulingIgnoredDuringExecution, at.Child("podAntiAffinity"))
	}
	return out
}

// NodeSelectorWarnings tells of labels that nodes have under another name now.
func NodeSelectorWarnings(s *corev1.NodeSelector, at *field.Path) []string {
	var out []string
	for i := range s.NodeSelectorTerms {
		out = append(out, nodeTermWarnings(&s.NodeSelectorTerms[i], at.Child("nodeSelectorTerms").Index(i))...)
	}
	return out
}

func nodeTermWarnings(t *corev1.NodeSelectorTerm, at *field.Path) []string {
	var out []string
	for i, e := range t.MatchExpressions {
		if l, old := oldLabels[e.Key]; old {
			out = append(out, fmt.Sprintf("%s: %s is deprecated since %s; use %q instead",
				at.Child("matchExpressions").Index(i).Child("key"), e.Key, l.since, l.now))
		}
	}
	return out
}

// nodeValueWarnings tells of values that no label can have. Where a node is only preferred they do no harm.
func nodeValueWarnings(t *corev1.NodeSelectorTerm, at *field.Path) []string {
	var out []string
	for i, e := range t.MatchExpressions {
		for k, v := range e.Values {
			for _, complaint := range validation.IsValidLabelValue(v) {
				out = append(out, fmt.Sprintf("%s: %s is invalid, %s", at.Child("matchExpressions").Index(i).Child("values").Index(k), v, complaint))
			}
		}
	}
	return out
}

func matchesNothing(s *metav1.LabelSelector, at *field.Path) []string {
	if s != nil {
		return nil
	}
	return []string{at.Child("labelSelector").String() + ": a null labelSelector results in matching no pod"}
}

func pullSecretWarnings(list []corev1.LocalObjectReference, at *field.Path) []string {
	var twice, empty []string
	seen := sets.Set[string]{}
	for i, r := range list {
		p := at.Index(i).Child("name")
		switch {
		case r.Name == "":
			empty = append(empty, p.String()+`: invalid empty name ""`)
		case seen.Has(r.Name):
			twice = append(twice, fmt.Sprintf("%s: duplicate name %q", p, r.Name))
		}
		seen.Insert(r.Name)
	}
	return append(twice, empty...)
}
