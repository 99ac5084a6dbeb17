package object

import (
	"fmt"
	"math"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/diff"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"hyperkube/internal/object/podspec"
)

var (
	specPath   = field.NewPath("spec")
	statusPath = field.NewPath("status")

	requiredNodesPath = specPath.Child("affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution")
)

// validatePod judges what new and changed pods have to heed; old is nil for a new one.
func validatePod(p, old *corev1.Pod) field.ErrorList {
	var oldSpec *corev1.PodSpec
	if old != nil {
		oldSpec = &old.Spec
	}
	errs := podspec.ValidateAnnotations(p.Annotations, &p.Spec, metadataPath.Child("annotations"))
	return append(errs, podspec.Validate(&p.Spec, podspec.Judge(oldSpec), specPath)...)
}

func validateNewPod(p *corev1.Pod) field.ErrorList {
	errs := podspec.ValidateNewNodeValues(requiredNodes(p.Spec.Affinity), nil, requiredNodesPath)
	if len(p.Spec.EphemeralContainers) > 0 {
		errs = append(errs, field.Forbidden(specPath.Child("ephemeralContainers"), "cannot be set on create"))
	}
	if p.Spec.NodeName != "" && len(p.Spec.SchedulingGates) > 0 {
		errs = append(errs, field.Forbidden(specPath.Child("nodeName"), "cannot be set until all schedulingGates have been cleared"))
	}
	errs = append(errs, podspec.ValidateMatchedKeys(&p.Spec, p.Labels, specPath)...)
	return append(errs, podspec.ValidateProfiles(p.Annotations, &p.Spec, specPath)...)
}

const podUpdateText = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`," +
	"`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations)," +
	"`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"

// validatePodUpdate allows new images, a shorter deadline, further tolerations, fewer scheduling gates and,
// while there are gates, a narrower choice of nodes.
func validatePodUpdate(p, old *corev1.Pod) field.ErrorList {
	errs := podspec.ValidateNewNodeValues(requiredNodes(p.Spec.Affinity), requiredNodes(old.Spec.Affinity), requiredNodesPath)
	if len(p.Spec.Containers) != len(old.Spec.Containers) {
		return append(errs, field.Forbidden(specPath.Child("containers"), "pod updates may not add or remove containers"))
	}
	if len(p.Spec.InitContainers) != len(old.Spec.InitContainers) {
		return append(errs, field.Forbidden(specPath.Child("initContainers"), "pod updates may not add or remove containers"))
	}
	errs = append(errs, validateDeadlineUpdate(p.Spec.ActiveDeadlineSeconds, old.Spec.ActiveDeadlineSeconds)...)
	errs = append(errs, onlyNewTolerations(p.Spec.Tolerations, old.Spec.Tolerations, specPath.Child("tolerations"))...)
	errs = append(errs, onlyFewerGates(p, old)...)

	// What is left after the allowed changes are taken back has to be the old.
	next := p.Spec.DeepCopy()
	for i := range next.Containers {
		next.Containers[i].Image = old.Spec.Containers[i].Image
	}
	for i := range next.InitContainers {
		next.InitContainers[i].Image = old.Spec.InitContainers[i].Image
	}
	next.ActiveDeadlineSeconds = old.Spec.ActiveDeadlineSeconds
	next.Tolerations = old.Spec.Tolerations
	next.SchedulingGates = old.Spec.SchedulingGates
	if g, o := next.TerminationGracePeriodSeconds, old.Spec.TerminationGracePeriodSeconds; g != nil && o != nil && *o < 0 && *g == 1 {
		next.TerminationGracePeriodSeconds = o
	}
	if len(old.Spec.SchedulingGates) > 0 {
		errs = append(errs, validateGatedPlacement(next, &old.Spec)...)
		next.NodeSelector = old.Spec.NodeSelector
		next.Affinity = takeBackNodeAffinity(next.Affinity, old.Spec.Affinity)
	}
	if !apiequality.Semantic.DeepEqual(*next, old.Spec) {
		errs = append(errs, field.Forbidden(specPath, podUpdateText+"\n"+diff.Diff(*next, old.Spec)))
	}
	return errs
}

func validateDeadlineUpdate(deadline, old *int64) field.ErrorList {
	at := specPath.Child("activeDeadlineSeconds")
	switch {
	case old == nil || deadline != nil && *deadline == *old:
		return nil
	case deadline == nil:
		return field.ErrorList{field.Invalid(at, deadline, "must not update from a positive integer to nil value")}
	case *deadline < 0:
		return field.ErrorList{field.Invalid(at, *deadline, validation.InclusiveRangeError(0, math.MaxInt32))}
	case *deadline > *old:
		return field.ErrorList{field.Invalid(at, *deadline, "must be less than or equal to previous value")}
	}
	return nil
}

// onlyNewTolerations: an old toleration stays as it is but for its seconds.
func onlyNewTolerations(list, old []corev1.Toleration, at *field.Path) field.ErrorList {
	for _, o := range old {
		found := false
		for _, t := range list {
			t.TolerationSeconds = o.TolerationSeconds
			found = found || apiequality.Semantic.DeepEqual(t, o)
		}
		if !found {
			return field.ErrorList{field.Forbidden(at, "existing toleration can not be modified except its tolerationSeconds")}
		}
	}
	return nil
}

func onlyFewerGates(p, old *corev1.Pod) field.ErrorList {
	had := sets.Set[string]{}
	for _, g := range old.Spec.SchedulingGates {
		had.Insert(g.Name)
	}
	var errs field.ErrorList
	for i, g := range p.Spec.SchedulingGates {
		if !had.Has(g.Name) {
			errs = append(errs, field.Forbidden(specPath.Child("schedulingGates").Index(i).Child("name"),
				fmt.Sprintf("only deletion is allowed, but found new scheduling gate '%s'", g.Name)))
		}
	}
	return errs
}

// validateGatedPlacement: a pod behind scheduling gates may be confined to fewer nodes, never to others (KEP-3838).
func validateGatedPlacement(next, old *corev1.PodSpec) field.ErrorList {
	var errs field.ErrorList
	at := specPath.Child("nodeSelector")
	for key, value := range old.NodeSelector {
		if next.NodeSelector[key] != value {
			errs = append(errs, field.Invalid(at, next.NodeSelector, "existing entries may not be modified or removed"))
			break
		}
	}
	at = requiredNodesPath
	before, after := requiredNodes(old.Affinity), requiredNodes(next.Affinity)
	switch {
	case before == nil || len(before.NodeSelectorTerms) == 0:
		return errs
	case after == nil || len(after.NodeSelectorTerms) != len(before.NodeSelectorTerms):
		return append(errs, field.Invalid(at.Child("nodeSelectorTerms"), after, "no additions/deletions to non-empty NodeSelectorTerms list are allowed"))
	}
	for i := range before.NodeSelectorTerms {
		o, n := &before.NodeSelectorTerms[i], &after.NodeSelectorTerms[i]
		if !beginsWith(n.MatchExpressions, o.MatchExpressions) || !beginsWith(n.MatchFields, o.MatchFields) {
			errs = append(errs, field.Invalid(at.Child("nodeSelectorTerms").Index(i), n, "only additions are allowed (no mutations or deletions)"))
		}
	}
	return errs
}

func beginsWith(list, prefix []corev1.NodeSelectorRequirement) bool {
	return len(list) >= len(prefix) && apiequality.Semantic.DeepEqual(list[:len(prefix)], prefix)
}

func requiredNodes(a *corev1.Affinity) *corev1.NodeSelector {
	if a == nil || a.NodeAffinity == nil {
		return nil
	}
	return a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution
}

// takeBackNodeAffinity gives the new affinity with the old one's node affinity.
func takeBackNodeAffinity(next, old *corev1.Affinity) *corev1.Affinity {
	if next == nil {
		if old == nil {
			return nil
		}
		next = &corev1.Affinity{}
	}
	out := next.DeepCopy()
	out.NodeAffinity = nil
	if old != nil {
		out.NodeAffinity = old.NodeAffinity
	} else if *out == (corev1.Affinity{}) {
		return nil
	}
	return out
}

func validateEphemeralContainersUpdate(p, old *corev1.Pod) field.ErrorList {
	errs := podspec.Validate(&p.Spec, podspec.Judge(&old.Spec), specPath)
	at := specPath.Child("ephemeralContainers")
	if staticPod(p) {
		errs = append(errs, field.Forbidden(field.NewPath(""), "static pods do not support ephemeral containers"))
	}
	now := map[string]*corev1.EphemeralContainer{}
	for i := range p.Spec.EphemeralContainers {
		now[p.Spec.EphemeralContainers[i].Name] = &p.Spec.EphemeralContainers[i]
	}
	for i := range old.Spec.EphemeralContainers {
		o := &old.Spec.EphemeralContainers[i]
		if n, there := now[o.Name]; !there {
			errs = append(errs, field.Forbidden(at, fmt.Sprintf("existing ephemeral containers %q may not be removed\n", o.Name)))
		} else if !apiequality.Semantic.DeepEqual(n, o) {
			errs = append(errs, field.Forbidden(at, fmt.Sprintf("existing ephemeral containers %q may not be changed\n", o.Name)))
		}
	}
	return errs
}

// staticPod: its definition is a file of its node, of which the object is a mirror.
func staticPod(p *corev1.Pod) bool {
	_, mirror := p.Annotations[corev1.MirrorPodAnnotationKey]
	return mirror
}

func podWarnings(p, old *corev1.Pod) []string {
	var out []string
	if old == nil {
		if bad := validation.IsDNS1123Label(p.Name); p.Name != "" && len(bad) > 0 {
			out = append(out, fmt.Sprintf("metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: [%s]", strings.Join(bad, ", ")))
		}
		return append(out, podspec.Warnings(p.Annotations, &p.Spec, nil)...)
	}
	return out
}
