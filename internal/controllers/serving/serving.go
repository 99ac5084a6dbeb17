// Package serving is what the controllers of endpoints share: which pods serve a service and under which address and
// ports ([PodEndpoint], [PodPorts]), how endpoints are packed into EndpointSlices with the fewest writes ([Arrange]), and
// two memories, safe for concurrent use: of one's own writes that the cache does not show yet ([Tracker]), and of the
// times by which consumers measure how long a change took to reach them ([Triggers]).
package serving

import (
	"maps"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"hyperkube/internal/client"
	"hyperkube/internal/controllers/podset"
)

// Matters says whether a change of a pod can change the endpoints of a service.
func Matters(old, new *corev1.Pod) bool {
	return old.UID != new.UID ||
		!maps.Equal(old.Labels, new.Labels) ||
		!slices.Equal(old.Status.PodIPs, new.Status.PodIPs) || old.Status.PodIP != new.Status.PodIP ||
		podset.IsReady(old) != podset.IsReady(new) ||
		podset.IsTerminal(old) != podset.IsTerminal(new) ||
		(old.DeletionTimestamp == nil) != (new.DeletionTimestamp == nil) ||
		old.Spec.NodeName != new.Spec.NodeName
}

// OnPods calls f for the services of which a changed pod is or was a member.
func OnPods(pods *client.Informer[*corev1.Pod], services *client.Informer[*corev1.Service], f func(*corev1.Service)) {
	pods.OnChange(func(old, new *corev1.Pod) {
		if old != nil && new != nil && !Matters(old, new) {
			return
		}
		pod := new
		if pod == nil {
			pod = old
		}
		for _, s := range services.InNamespace(pod.Namespace) {
			if Selects(s, old) || Selects(s, new) {
				f(s)
			}
		}
	})
}

// Selects says whether the service has a selector and the pod matches it.
func Selects(s *corev1.Service, pod *corev1.Pod) bool {
	if pod == nil || len(s.Spec.Selector) == 0 {
		return false
	}
	for k, v := range s.Spec.Selector {
		if got, ok := pod.Labels[k]; !ok || got != v {
			return false
		}
	}
	return true
}

// Members are the pods that the service selects.
func Members(pods *client.Informer[*corev1.Pod], s *corev1.Service) []*corev1.Pod {
	sel := labels.Set(s.Spec.Selector).AsSelectorPreValidated()
	return podset.Filter(pods.InNamespace(s.Namespace), func(p *corev1.Pod) bool { return sel.Matches(labels.Set(p.Labels)) })
}

// Served says whether this project's controllers make endpoints for the service at all: it needs a selector, and a
// name in the DNS elsewhere (ExternalName) has no endpoints.
func Served(s *corev1.Service) bool {
	return len(s.Spec.Selector) > 0 && s.Spec.Type != corev1.ServiceTypeExternalName
}

// Belongs says whether the pod has a place among endpoints: it has an address and has not ended. Pods being deleted have
// one only where terminating says so.
func Belongs(pod *corev1.Pod, terminating bool) bool {
	return !podset.IsTerminal(pod) && (pod.Status.PodIP != "" || len(pod.Status.PodIPs) > 0) &&
		(terminating || pod.DeletionTimestamp == nil)
}

// Address is the pod's address of one family; "" when it has none.
func Address(pod *corev1.Pod, family corev1.IPFamily) string {
	for _, ip := range pod.Status.PodIPs {
		if FamilyOf(ip.IP) == family {
			return ip.IP
		}
	}
	if len(pod.Status.PodIPs) == 0 && FamilyOf(pod.Status.PodIP) == family {
		return pod.Status.PodIP
	}
	return ""
}

// FamilyOf is the family of an address; "" for what is none.
func FamilyOf(ip string) corev1.IPFamily {
	a, err := netip.ParseAddr(ip)
	switch {
	case err != nil:
		return ""
	case a.Unmap().Is4():
		return corev1.IPv4Protocol
	}
	return corev1.IPv6Protocol
}

// Port finds the number on which a pod serves a service's port: names are looked up among the ports of its containers
// and of its init containers that go on running (KEP-753).
func Port(pod *corev1.Pod, sp *corev1.ServicePort) (int32, bool) {
	switch sp.TargetPort.Type {
	case intstr.Int:
		return sp.TargetPort.IntVal, true
	case intstr.String:
		find := func(cs []corev1.Container, keep func(*corev1.Container) bool) (int32, bool) {
			for i := range cs {
				if !keep(&cs[i]) {
					continue
				}
				for _, p := range cs[i].Ports {
					if p.Name == sp.TargetPort.StrVal && protocol(p.Protocol) == protocol(sp.Protocol) {
						return p.ContainerPort, true
					}
				}
			}
			return 0, false
		}
		if n, ok := find(pod.Spec.Containers, func(*corev1.Container) bool { return true }); ok {
			return n, true
		}
		return find(pod.Spec.InitContainers, func(c *corev1.Container) bool {
			return ptr.Deref(c.RestartPolicy, "") == corev1.ContainerRestartPolicyAlways
		})
	}
	return 0, false
}

func protocol(p corev1.Protocol) corev1.Protocol {
	if p == "" {
		return corev1.ProtocolTCP
	}
	return p
}

// PodPorts are the ports of the service on this pod. Those that the pod does not have are left out.
func PodPorts(s *corev1.Service, pod *corev1.Pod) []discoveryv1.EndpointPort {
	out := make([]discoveryv1.EndpointPort, 0, len(s.Spec.Ports))
	for i := range s.Spec.Ports {
		sp := &s.Spec.Ports[i]
		if n, ok := Port(pod, sp); ok {
			out = append(out, discoveryv1.EndpointPort{
				Name: ptr.To(sp.Name), Port: ptr.To(n), Protocol: ptr.To(protocol(sp.Protocol)), AppProtocol: sp.AppProtocol,
			})
		}
	}
	return out
}

// PodEndpoint is the pod as an endpoint of the service under one address. node may be nil.
func PodEndpoint(s *corev1.Service, pod *corev1.Pod, node *corev1.Node, address string) discoveryv1.Endpoint {
	ready, terminating := podset.IsReady(pod), pod.DeletionTimestamp != nil
	e := discoveryv1.Endpoint{
		Addresses: []string{address},
		Conditions: discoveryv1.EndpointConditions{
			Ready:       ptr.To(s.Spec.PublishNotReadyAddresses || (ready && !terminating)),
			Serving:     ptr.To(ready),
			Terminating: ptr.To(terminating),
		},
		TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
	}
	if pod.Spec.NodeName != "" {
		e.NodeName = ptr.To(pod.Spec.NodeName)
	}
	if node != nil && node.Labels[corev1.LabelTopologyZone] != "" {
		e.Zone = ptr.To(node.Labels[corev1.LabelTopologyZone])
	}
	if h := Hostname(s, pod); h != "" {
		e.Hostname = ptr.To(h)
	}
	return e
}

// Hostname is the name that the pod has below the service's name in the DNS; "" for most pods.
func Hostname(s *corev1.Service, pod *corev1.Pod) string {
	if pod.Spec.Hostname != "" && pod.Spec.Subdomain == s.Name && pod.Namespace == s.Namespace {
		return pod.Spec.Hostname
	}
	return ""
}

// Families are the address families of the service. A server that allots addresses has set them; for one that does not, they
// are guessed.
func Families(s *corev1.Service) []corev1.IPFamily {
	if len(s.Spec.IPFamilies) > 0 {
		return s.Spec.IPFamilies
	}
	if FamilyOf(s.Spec.ClusterIP) == corev1.IPv6Protocol {
		return []corev1.IPFamily{corev1.IPv6Protocol}
	}
	return []corev1.IPFamily{corev1.IPv4Protocol}
}

// Headless says whether the service has no address of its own.
func Headless(s *corev1.Service) bool { return s.Spec.ClusterIP == corev1.ClusterIPNone }
