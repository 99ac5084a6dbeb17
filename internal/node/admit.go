package node

import (
	"fmt"
	"runtime"

	corev1 "k8s.io/api/core/v1"
	resourcehelper "k8s.io/component-helpers/resource"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"

	"hyperkube/internal/node/eviction"
	"hyperkube/internal/node/pods"
	"hyperkube/internal/node/static"
)

// admit judges a pod that is new on this node: whether it is for this system and this node, and fits beside the others.
// Static pods are not refused for resources: the node cannot be without them.
func (k *Kubelet) admit(p *corev1.Pod, others []*corev1.Pod) *pods.Refusal {
	if p.Spec.OS != nil && string(p.Spec.OS.Name) != runtime.GOOS {
		return &pods.Refusal{Reason: "PodOSNotSupported", Message: fmt.Sprintf("Failed to admit pod as the OS field doesn't match node OS: %s", p.Spec.OS.Name)}
	}
	if static.IsStatic(p) {
		return nil
	}
	if n := k.thisNode(); n != nil {
		if ok, err := nodeaffinity.GetRequiredNodeAffinity(p).Match(n); err != nil || !ok {
			return &pods.Refusal{Reason: "NodeAffinity", Message: "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"}
		}
	}
	if port, taken := portTaken(p, others); taken {
		return &pods.Refusal{Reason: "NodePorts", Message: fmt.Sprintf("Predicate NodePorts failed: host port %d is taken", port)}
	}
	if text := k.eviction.Refuse(p); text != "" {
		return &pods.Refusal{Reason: eviction.Reason, Message: text}
	}
	return k.fits(p, others)
}

func (k *Kubelet) thisNode() *corev1.Node {
	if k.self == nil {
		return nil
	}
	n, ok := k.self.Get("", k.cfg.NodeName)
	if !ok {
		return nil
	}
	return n
}

// fit judges a change of a pod's resources.
func (k *Kubelet) fit(p *corev1.Pod, others []*corev1.Pod) (never, notNow string) {
	if static.IsStatic(p) {
		return "In-place resize of static-pods is not supported", ""
	}
	for name, q := range resourcehelper.PodRequests(p, resourcehelper.PodResourcesOptions{}) {
		if have, known := k.node.Allocatable[name]; known && q.Cmp(have) > 0 {
			asked, capacity := q.Value(), have.Value()
			if name == corev1.ResourceCPU {
				asked, capacity = q.MilliValue(), have.MilliValue()
			}
			return fmt.Sprintf("Node didn't have enough capacity: %s, requested: %d, capacity: %d", name, asked, capacity), ""
		}
	}
	if r := k.fits(p, others); r != nil {
		return "", r.Message
	}
	return "", ""
}

// fits compares what the pod asks for with what is left.
func (k *Kubelet) fits(p *corev1.Pod, others []*corev1.Pod) *pods.Refusal {
	limit := k.node.Allocatable
	if max := limit.Pods().Value(); int64(len(others)) >= max {
		return refuse("pods", 1, int64(len(others)), max)
	}
	opts := resourcehelper.PodResourcesOptions{}
	used := corev1.ResourceList{}
	for _, o := range others {
		for name, q := range resourcehelper.PodRequests(o, opts) {
			sum := used[name]
			sum.Add(q)
			used[name] = sum
		}
	}
	for name, q := range resourcehelper.PodRequests(p, opts) {
		have, known := limit[name]
		if q.IsZero() || !known { // extended resources of devices are not this function's to judge
			continue
		}
		sum := used[name]
		sum.Add(q)
		if sum.Cmp(have) > 0 {
			u := used[name]
			if name == corev1.ResourceCPU {
				return refuse(name, q.MilliValue(), u.MilliValue(), have.MilliValue())
			}
			return refuse(name, q.Value(), u.Value(), have.Value())
		}
	}
	return nil
}

func refuse(name corev1.ResourceName, asked, used, capacity int64) *pods.Refusal {
	return &pods.Refusal{Reason: "OutOf" + string(name), Message: fmt.Sprintf("Node didn't have enough resource: %s, requested: %d, used: %d, capacity: %d", name, asked, used, capacity)}
}

// portTaken says whether a host port of the pod is another's.
func portTaken(p *corev1.Pod, others []*corev1.Pod) (int32, bool) {
	for _, want := range hostPorts(p) {
		for _, o := range others {
			for _, have := range hostPorts(o) {
				if want.HostPort == have.HostPort && protocol(want) == protocol(have) && (want.HostIP == have.HostIP || any4(want.HostIP) || any4(have.HostIP)) {
					return want.HostPort, true
				}
			}
		}
	}
	return 0, false
}

func any4(ip string) bool { return ip == "" || ip == "0.0.0.0" || ip == "::" }

func protocol(p corev1.ContainerPort) corev1.Protocol {
	if p.Protocol == "" {
		return corev1.ProtocolTCP
	}
	return p.Protocol
}

func hostPorts(p *corev1.Pod) []corev1.ContainerPort {
	var out []corev1.ContainerPort
	for i := range p.Spec.Containers {
		for _, port := range p.Spec.Containers[i].Ports {
			if port.HostPort > 0 {
				out = append(out, port)
			}
		}
	}
	return out
}
