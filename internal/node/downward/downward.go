// Package downward is the downward API: what a pod may be told of itself, for environment variables and for
// volumes alike. It is pure.
package downward

import (
	"fmt"
	"sort"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Facts are the values that are not in the pod's spec.
type Facts struct {
	PodIPs  []string
	HostIPs []string
	// Allocatable of the node is the limit of a container that has none.
	Allocatable corev1.ResourceList
}

// Field gives the value of a field of the pod (fieldRef). A field that the downward API does not have is an error.
func Field(pod *corev1.Pod, path string, f Facts) (string, error) {
	if base, key, ok := subscript(path); ok {
		switch base {
		case "metadata.labels":
			return pod.Labels[key], nil
		case "metadata.annotations":
			return pod.Annotations[key], nil
		}
		return "", fmt.Errorf("fieldPath %q does not support subscript", path)
	}
	switch path {
	case "metadata.name":
		return pod.Name, nil
	case "metadata.namespace":
		return pod.Namespace, nil
	case "metadata.uid":
		return string(pod.UID), nil
	case "metadata.labels":
		return formatMap(pod.Labels), nil
	case "metadata.annotations":
		return formatMap(pod.Annotations), nil
	case "spec.nodeName":
		return pod.Spec.NodeName, nil
	case "spec.serviceAccountName":
		return pod.Spec.ServiceAccountName, nil
	case "status.hostIP":
		return first(f.HostIPs), nil
	case "status.hostIPs":
		return strings.Join(f.HostIPs, ","), nil
	case "status.podIP":
		return first(f.PodIPs), nil
	case "status.podIPs":
		return strings.Join(f.PodIPs, ","), nil
	}
	return "", fmt.Errorf("unsupported fieldPath: %v", path)
}

func first(s []string) string {
	if len(s) == 0 {
		return ""
	}
	return s[0]
}

// subscript takes metadata.labels['key'] apart.
func subscript(path string) (base, key string, ok bool) {
	if !strings.HasSuffix(path, "']") {
		return "", "", false
	}
	base, key, ok = strings.Cut(strings.TrimSuffix(path, "']"), "['")
	return base, key, ok && base != ""
}

// formatMap writes one key="value" a line, sorted by key.
func formatMap(m map[string]string) string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	lines := make([]string, len(keys))
	for i, k := range keys {
		lines[i] = k + "=" + strconv.Quote(m[k])
	}
	return strings.Join(lines, "\n")
}

// Resource gives a request or limit of a container (resourceFieldRef) in units of the divisor, rounded up.
func Resource(pod *corev1.Pod, sel *corev1.ResourceFieldSelector, c *corev1.Container, f Facts) (string, error) {
	if sel.ContainerName != "" && (c == nil || c.Name != sel.ContainerName) {
		if c = findContainer(pod, sel.ContainerName); c == nil {
			return "", fmt.Errorf("container %s not found", sel.ContainerName)
		}
	}
	if c == nil {
		return "", fmt.Errorf("resourceFieldRef %q names no container", sel.Resource)
	}
	kind, name, ok := strings.Cut(sel.Resource, ".")
	if !ok || !supported(corev1.ResourceName(name)) {
		return "", fmt.Errorf("unsupported container resource : %v", sel.Resource)
	}
	var q resource.Quantity
	switch kind {
	case "limits":
		q = limit(pod, c, corev1.ResourceName(name), f.Allocatable)
	case "requests":
		q = c.Resources.Requests[corev1.ResourceName(name)]
	default:
		return "", fmt.Errorf("unsupported container resource : %v", sel.Resource)
	}
	return divide(q, sel.Divisor, name == string(corev1.ResourceCPU)), nil
}

func supported(n corev1.ResourceName) bool {
	return n == corev1.ResourceCPU || n == corev1.ResourceMemory || n == corev1.ResourceEphemeralStorage ||
		strings.HasPrefix(string(n), corev1.ResourceHugePagesPrefix)
}

// limit of the container, else of the pod, else what the node has to give.
func limit(pod *corev1.Pod, c *corev1.Container, n corev1.ResourceName, allocatable corev1.ResourceList) resource.Quantity {
	if q, ok := c.Resources.Limits[n]; ok && !q.IsZero() {
		return q
	}
	if pod.Spec.Resources != nil {
		if q, ok := pod.Spec.Resources.Limits[n]; ok && !q.IsZero() {
			return q
		}
	}
	if n == corev1.ResourceCPU || n == corev1.ResourceMemory || n == corev1.ResourceEphemeralStorage {
		return allocatable[n]
	}
	return resource.Quantity{}
}

func divide(q, divisor resource.Quantity, milli bool) string {
	value, by := q.Value(), divisor.Value()
	if milli {
		value, by = q.MilliValue(), divisor.MilliValue()
		if divisor.IsZero() {
			by = 1000
		}
	}
	if by == 0 {
		by = 1
	}
	n := value / by
	if value%by > 0 {
		n++
	}
	return strconv.FormatInt(n, 10)
}

func findContainer(pod *corev1.Pod, name string) *corev1.Container {
	for _, list := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		for i := range list {
			if list[i].Name == name {
				return &list[i]
			}
		}
	}
	return nil
}
