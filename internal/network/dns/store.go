package dns

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"hyperkube/internal/client"
)

// store is what answers are made from. Nothing that it gives may be changed.
type store interface {
	service(namespace, name string) (*corev1.Service, bool)
	slices(namespace, service string) []*discoveryv1.EndpointSlice
	servicesAt(ip netip.Addr) []*corev1.Service
	slicesAt(ip netip.Addr) []*discoveryv1.EndpointSlice
	namespace(name string) bool
}

const (
	byService = "service"
	byAddress = "address"
)

// informers are the store over the API.
type informers struct {
	services   *client.Informer[*corev1.Service]
	endpoints  *client.Informer[*discoveryv1.EndpointSlice]
	namespaces *client.Informer[*corev1.Namespace]
}

func newInformers(f *client.Informers) *informers {
	i := &informers{
		services:   client.InformerFor(f, client.Services),
		endpoints:  client.InformerFor(f, client.EndpointSlices),
		namespaces: client.InformerFor(f, client.Namespaces),
	}
	i.services.AddIndex(byAddress, serviceAddresses)
	i.endpoints.AddIndex(byAddress, sliceAddresses)
	i.endpoints.AddIndex(byService, func(s *discoveryv1.EndpointSlice) []string {
		if name := s.Labels[discoveryv1.LabelServiceName]; name != "" {
			return []string{s.Namespace + "/" + name}
		}
		return nil
	})
	return i
}

func serviceAddresses(s *corev1.Service) []string {
	var out []string
	for _, ip := range clusterIPs(s) {
		out = append(out, ip.String())
	}
	return out
}

func sliceAddresses(s *discoveryv1.EndpointSlice) []string {
	var out []string
	for i := range s.Endpoints {
		for _, a := range s.Endpoints[i].Addresses {
			if ip, err := netip.ParseAddr(a); err == nil {
				out = append(out, ip.Unmap().String())
			}
		}
	}
	return out
}

func (i *informers) service(namespace, name string) (*corev1.Service, bool) {
	return i.services.Get(namespace, name)
}

func (i *informers) slices(namespace, service string) []*discoveryv1.EndpointSlice {
	return i.endpoints.ByIndex(byService, namespace+"/"+service)
}

func (i *informers) servicesAt(ip netip.Addr) []*corev1.Service {
	return i.services.ByIndex(byAddress, ip.String())
}

func (i *informers) slicesAt(ip netip.Addr) []*discoveryv1.EndpointSlice {
	return i.endpoints.ByIndex(byAddress, ip.String())
}

func (i *informers) namespace(name string) bool {
	_, ok := i.namespaces.Get("", name)
	return ok
}

// clusterIPs are a Service's own addresses; none for a headless or external one.
func clusterIPs(s *corev1.Service) []netip.Addr {
	if s.Spec.Type == corev1.ServiceTypeExternalName {
		return nil
	}
	all := s.Spec.ClusterIPs
	if len(all) == 0 {
		all = []string{s.Spec.ClusterIP}
	}
	var out []netip.Addr
	for _, a := range all {
		if ip, err := netip.ParseAddr(a); err == nil {
			out = append(out, ip.Unmap())
		}
	}
	return out
}
