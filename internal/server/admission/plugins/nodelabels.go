package plugins

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"hyperkube/internal/server/admission"
)

// nodeObject holds a kubelet to its own Node: it may not change what others decide by, its taints, owners and
// most labels of Kubernetes' own domains.
func nodeObject(a *admission.Attributes, node string) error {
	no := func(format string, args ...any) error { return admission.Forbidden(a, fmt.Sprintf(format, args...)) }
	now, _ := a.Object.(*corev1.Node)
	old, _ := a.OldObject.(*corev1.Node)
	name := a.Name
	if name == "" && now != nil {
		name = now.Name
	}
	if name != node {
		return no("node %q is not allowed to modify node %q", node, name)
	}
	if now == nil {
		return nil
	}
	switch a.Operation {
	case admission.Create:
		if now.Spec.ConfigSource != nil {
			return no("is not allowed to create pods with a non-nil configSource")
		}
		if bad := forbiddenLabels(nil, now.Labels); len(bad) > 0 {
			return no("is not allowed to set the following labels: %s", strings.Join(bad, ", "))
		}
		if len(now.OwnerReferences) > 0 {
			return no("node %q is not allowed to set ownerReferences", node)
		}
	case admission.Update:
		if old == nil {
			return nil
		}
		if !equality.Semantic.DeepEqual(old.Spec.Taints, now.Spec.Taints) {
			return no("node %q is not allowed to modify taints", node)
		}
		if bad := forbiddenLabels(old.Labels, now.Labels); len(bad) > 0 {
			return no("is not allowed to modify labels: %s", strings.Join(bad, ", "))
		}
		if !equality.Semantic.DeepEqual(old.OwnerReferences, now.OwnerReferences) {
			return no("node %q is not allowed to modify ownerReferences", node)
		}
	}
	return nil
}

// forbiddenLabels are the changed labels that a kubelet may not set
// (https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#noderestriction).
func forbiddenLabels(old, now map[string]string) []string {
	var bad []string
	check := func(key string) {
		if !kubeletMaySet(key) {
			bad = append(bad, key)
		}
	}
	for k, v := range now {
		if o, ok := old[k]; !ok || o != v {
			check(k)
		}
	}
	for k := range old {
		if _, ok := now[k]; !ok {
			check(k)
		}
	}
	slices.Sort(bad)
	return bad
}

func kubeletMaySet(key string) bool {
	domain, _, ok := strings.Cut(key, "/")
	if !ok {
		return true
	}
	within := func(d string) bool { return domain == d || strings.HasSuffix(domain, "."+d) }
	switch {
	case within("node-restriction.kubernetes.io"):
		return false
	case !within("kubernetes.io") && !within("k8s.io"):
		return true
	case within("kubelet.kubernetes.io") || within("node.kubernetes.io"):
		return true
	}
	switch key {
	case corev1.LabelHostname, corev1.LabelArchStable, corev1.LabelOSStable, corev1.LabelInstanceTypeStable, corev1.LabelInstanceType,
		corev1.LabelTopologyRegion, corev1.LabelTopologyZone, corev1.LabelFailureDomainBetaRegion, corev1.LabelFailureDomainBetaZone,
		"beta.kubernetes.io/os", "beta.kubernetes.io/arch":
		return true
	}
	return false
}
