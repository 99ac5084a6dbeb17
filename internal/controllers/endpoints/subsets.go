package endpoints

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"hyperkube/internal/controllers/podset"
	"hyperkube/internal/controllers/serving"
)

// most is how many addresses one Endpoints object may hold.
const most = 1000

// entry is one address on one port.
type entry struct {
	address corev1.EndpointAddress
	ready   bool
}

// subsets groups the pods' addresses so that ports with the very same addresses stand together, in an order that does
// not depend on that of the pods.
func subsets(svc *corev1.Service, pods []*corev1.Pod) []corev1.EndpointSubset {
	family := serving.Families(svc)[0]
	byPort := map[corev1.EndpointPort][]entry{}
	var none []entry // of a headless service without ports
	for _, pod := range pods {
		ip := serving.Address(pod, family)
		if ip == "" || !serving.Belongs(pod, svc.Spec.PublishNotReadyAddresses) {
			continue
		}
		e := entry{address(svc, pod, ip), svc.Spec.PublishNotReadyAddresses || podset.IsReady(pod)}
		if len(svc.Spec.Ports) == 0 {
			if serving.Headless(svc) {
				none = append(none, e)
			}
			continue
		}
		for _, p := range serving.PodPorts(svc, pod) {
			port := corev1.EndpointPort{Name: ptr.Deref(p.Name, ""), Port: *p.Port, Protocol: *p.Protocol, AppProtocol: p.AppProtocol}
			byPort[port] = append(byPort[port], e)
		}
	}
	if len(none) > 0 {
		return []corev1.EndpointSubset{subset(nil, none)}
	}
	return merge(byPort)
}

func merge(byPort map[corev1.EndpointPort][]entry) []corev1.EndpointSubset {
	ports := map[string][]corev1.EndpointPort{}
	entries := map[string][]entry{}
	for port, es := range byPort {
		key := fingerprint(es)
		ports[key] = append(ports[key], port)
		entries[key] = es
	}
	out := make([]corev1.EndpointSubset, 0, len(ports))
	for key, ps := range ports {
		slices.SortFunc(ps, comparePorts)
		out = append(out, subset(ps, entries[key]))
	}
	slices.SortFunc(out, func(a, b corev1.EndpointSubset) int { return comparePorts(a.Ports[0], b.Ports[0]) })
	return out
}

func comparePorts(a, b corev1.EndpointPort) int {
	return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Port, b.Port), cmp.Compare(a.Protocol, b.Protocol))
}

func fingerprint(es []entry) string {
	keys := make([]string, len(es))
	for i, e := range es {
		uid := ""
		if e.address.TargetRef != nil {
			uid = string(e.address.TargetRef.UID)
		}
		keys[i] = fmt.Sprintf("%s %s %t", e.address.IP, uid, e.ready)
	}
	slices.Sort(keys)
	return strings.Join(keys, ",")
}

func subset(ports []corev1.EndpointPort, es []entry) corev1.EndpointSubset {
	slices.SortFunc(es, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.address.IP, b.address.IP), cmp.Compare(a.address.TargetRef.UID, b.address.TargetRef.UID))
	})
	s := corev1.EndpointSubset{Ports: ports}
	for _, e := range es {
		if e.ready {
			s.Addresses = append(s.Addresses, e.address)
		} else {
			s.NotReadyAddresses = append(s.NotReadyAddresses, e.address)
		}
	}
	return s
}

func address(svc *corev1.Service, pod *corev1.Pod, ip string) corev1.EndpointAddress {
	a := corev1.EndpointAddress{
		IP:        ip,
		Hostname:  serving.Hostname(svc, pod),
		TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
	}
	if pod.Spec.NodeName != "" {
		a.NodeName = ptr.To(pod.Spec.NodeName)
	}
	return a
}

// truncate keeps at most most addresses, ready ones first, and says whether any had to go.
func truncate(in []corev1.EndpointSubset) (out []corev1.EndpointSubset, truncated bool) {
	ready, total := 0, 0
	for _, s := range in {
		ready += len(s.Addresses)
		total += len(s.Addresses) + len(s.NotReadyAddresses)
	}
	if total <= most {
		return in, false
	}
	room, roomNotReady := most, max(most-ready, 0)
	for _, s := range in {
		n, m := min(len(s.Addresses), room), min(len(s.NotReadyAddresses), roomNotReady)
		room, roomNotReady = room-n, roomNotReady-m
		s.Addresses, s.NotReadyAddresses = s.Addresses[:n:n], s.NotReadyAddresses[:m:m]
		if n+m > 0 {
			out = append(out, s)
		}
	}
	return out, true
}
