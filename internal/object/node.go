package object

import (
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"

	"hyperkube/internal/object/podspec"
)

func nodeKind() *Kind {
	info := doc(corev1.NodeSystemInfo{}.SwaggerDoc())
	addresses := doc(corev1.NodeStatus{}.SwaggerDoc())["addresses"]
	return &Kind{
		Versions:      []Version{version[corev1.Node, corev1.NodeList](corev1.SchemeGroupVersion, "Node")},
		Resource:      "nodes",
		Singular:      "node",
		ShortNames:    []string{"no"},
		Scope:         Cluster,
		StoragePrefix: "minions",
		Strategy: rules[*corev1.Node]{
			Default:        defaultNode,
			PrepareUpdate:  func(n, old *corev1.Node) { n.Status = *old.Status.DeepCopy() },
			Compare:        validateNode,
			ValidateUpdate: validateNodeUpdate,
			Warnings:       nodeWarnings,
		}.full(Cluster, nameIsSubdomain),
		Subresources: []Subresource{
			handled("proxy", corev1.SchemeGroupVersion.WithKind("NodeProxyOptions"), "create", "delete", "get", "patch", "update"),
			writes("status", rules[*corev1.Node]{
				PrepareUpdate:  func(n, old *corev1.Node) { n.Spec = *old.Spec.DeepCopy() },
				ValidateUpdate: validateNodeStatusUpdate,
			}),
		},
		FieldNames: []string{"spec.unschedulable"},
		Fields: selectableFields(func(n *corev1.Node) fields.Set {
			return fields.Set{"spec.unschedulable": strconv.FormatBool(n.Spec.Unschedulable)}
		}),
		Columns: []metav1.TableColumnDefinition{
			nameColumn(),
			column("Status", "string", "The status of the node"),
			column("Roles", "string", "The roles of the node"),
			ageColumn(),
			column("Version", "string", info["kubeletVersion"]),
			wide("Internal-IP", "string", addresses),
			wide("External-IP", "string", addresses),
			wide("OS-Image", "string", info["osImage"]),
			wide("Kernel-Version", "string", info["kernelVersion"]),
			wide("Container-Runtime", "string", info["containerRuntimeVersion"]),
		},
		Cells: cells(nodeCells),
	}
}

func defaultNode(n *corev1.Node) {
	s := &n.Status
	if len(s.Allocatable) == 0 && s.Capacity != nil {
		s.Allocatable = s.Capacity.DeepCopy()
	}
	podspec.RoundUp(s.Capacity)
	podspec.RoundUp(s.Allocatable)
	// podCIDR is the first of podCIDRs. Where they differ, podCIDR is what its writer knows of.
	switch list := n.Spec.PodCIDRs; {
	case n.Spec.PodCIDR != "" && (len(list) == 0 || list[0] != n.Spec.PodCIDR):
		n.Spec.PodCIDRs = []string{n.Spec.PodCIDR}
	case n.Spec.PodCIDR == "" && len(list) > 0:
		n.Spec.PodCIDR = list[0]
	}
	// of features that are off or gone
	n.Spec.ConfigSource, n.Spec.PodPreemptionPolicy, s.Config = nil, nil, nil
}

func nodeWarnings(n, _ *corev1.Node) []string {
	if n.Spec.DoNotUseExternalID == "" {
		return nil
	}
	return []string{"spec.externalID: this field is deprecated, and is unused by Kubernetes"}
}

func nodeCells(n *corev1.Node, now time.Time) []any {
	status := "Unknown"
	if c := NodeCondition(n, corev1.NodeReady); c != nil {
		status = "NotReady"
		if c.Status == corev1.ConditionTrue {
			status = "Ready"
		}
	}
	if n.Spec.Unschedulable {
		status += ",SchedulingDisabled"
	}
	info := &n.Status.NodeInfo
	text := func(s string) string {
		if s == "" {
			return unknown
		}
		return s
	}
	kernel := text(info.KernelVersion)
	if info.Architecture != "" {
		kernel += " (" + info.Architecture + ")"
	}
	return []any{
		n.Name, status, orNone(strings.Join(nodeRoles(n), ",")), age(n, now), info.KubeletVersion,
		nodeAddress(n, corev1.NodeInternalIP), nodeAddress(n, corev1.NodeExternalIP),
		text(info.OSImage), kernel, text(info.ContainerRuntimeVersion),
	}
}

func nodeRoles(n *corev1.Node) []string {
	var roles []string
	for key, value := range n.Labels {
		if role, ok := strings.CutPrefix(key, "node-role.kubernetes.io/"); ok && role != "" {
			roles = append(roles, role)
		} else if key == "kubernetes.io/role" && value != "" {
			roles = append(roles, value)
		}
	}
	slices.Sort(roles)
	return slices.Compact(roles)
}

func nodeAddress(n *corev1.Node, t corev1.NodeAddressType) string {
	for _, a := range n.Status.Addresses {
		if a.Type == t {
			return a.Address
		}
	}
	return none
}
