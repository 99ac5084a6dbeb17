// Package clusterdns publishes the cluster's name servers, one on each node, as the Service kube-system/kube-dns.
//
// Each node announces in an annotation where its server answers ([dns.EndpointsAnnotation]). The controller makes one EndpointSlice
// for each node of it, with a hint that makes the node's own pods use their own server, and marks it as not ready while nobody has heard
// of the node. So pods elsewhere are sent to a dead node's server for no longer than the node is found dead. A node can announce
// nothing but addresses of its own: of its pod range, or those that its Node object reports.
//
// A Service of that name that has a selector is somebody else's DNS; the controller leaves it alone and publishes nothing.
//
// Watches: Nodes, Services, EndpointSlices. Writes: that Service, and EndpointSlices that it manages.
package clusterdns

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"hyperkube/internal/client"
	"hyperkube/internal/controllers"
	"hyperkube/internal/network/dns"
)

// Name of the controller. Upstream has none like it.
const Name = "cluster-dns-controller"

const (
	// ServiceName in kube-system is where clients know the cluster's DNS, as kubeadm's.
	ServiceName = "kube-dns"
	managedBy   = "dns.hyperkube"
	slicePrefix = ServiceName + "-"
)

// serviceKey is the queue's key for the Service; others are nodes' names.
const serviceKey = ""

type controller struct {
	client   client.Interface
	log      *slog.Logger
	nodes    *client.Informer[*corev1.Node]
	services *client.Informer[*corev1.Service]
	slices   *client.Informer[*discoveryv1.EndpointSlice]
	queue    *client.Queue[string]
	address  netip.Addr
}

// New registers the controller. address is the Service's.
func New(d controllers.Deps, address netip.Addr) controllers.Controller {
	c := &controller{
		client: d.Client(Name), log: controllers.Logger(Name), address: address,
		nodes:    client.InformerFor(d.Informers, client.Nodes),
		services: client.InformerFor(d.Informers, client.Services),
		slices:   client.InformerFor(d.Informers, client.EndpointSlices),
		queue:    client.NewQueue[string](Name),
	}
	c.nodes.OnChange(c.nodeChanged)
	c.services.OnChange(c.serviceChanged)
	c.slices.OnChange(func(old, new *discoveryv1.EndpointSlice) {
		s := new
		if s == nil {
			s = old
		}
		if node, ok := nodeOf(s); ok {
			c.queue.Add(node)
		}
	})
	return c
}

func (c *controller) Name() string { return Name }

func (c *controller) Run(ctx context.Context) error {
	c.queue.Add(serviceKey)
	client.RunWorkers(ctx, c.queue, 1, c.reconcile)
	return nil
}

func (c *controller) nodeChanged(old, new *corev1.Node) {
	switch {
	case new == nil:
		c.queue.Add(old.Name)
	case old == nil || old.UID != new.UID || lost(old) != lost(new) ||
		old.Annotations[dns.EndpointsAnnotation] != new.Annotations[dns.EndpointsAnnotation] ||
		!slices.Equal(old.Spec.PodCIDRs, new.Spec.PodCIDRs) || !slices.Equal(old.Status.Addresses, new.Status.Addresses):
		c.queue.Add(new.Name)
	}
}

func (c *controller) serviceChanged(old, new *corev1.Service) {
	s := new
	if s == nil {
		s = old
	}
	if s.Name != ServiceName || s.Namespace != metav1.NamespaceSystem {
		return
	}
	c.queue.Add(serviceKey)
	if old == nil || new == nil || foreign(old) != foreign(new) {
		for _, n := range c.nodes.List() {
			c.queue.Add(n.Name)
		}
	}
}

// foreign tells whether a Service chooses its own endpoints.
func foreign(s *corev1.Service) bool { return s != nil && len(s.Spec.Selector) > 0 }

// nodeOf is the node of a slice of this controller.
func nodeOf(s *discoveryv1.EndpointSlice) (string, bool) {
	if s.Namespace != metav1.NamespaceSystem || s.Labels[discoveryv1.LabelManagedBy] != managedBy {
		return "", false
	}
	return strings.CutPrefix(s.Name, slicePrefix)
}

// lost tells whether nobody has heard of the node. A kubelet that says itself that it is not ready is no reason: its
// node's DNS may well answer.
func lost(n *corev1.Node) bool {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionUnknown
		}
	}
	return false
}

func (c *controller) reconcile(ctx context.Context, key string) error {
	if key == serviceKey {
		return c.ensureService(ctx)
	}
	name := slicePrefix + key
	have, exists := c.slices.Get(metav1.NamespaceSystem, name)
	if exists && have.Labels[discoveryv1.LabelManagedBy] != managedBy {
		return nil
	}
	want := c.want(key)
	switch {
	case want == nil && exists:
		err := client.EndpointSlices.Delete(ctx, c.client, have.Namespace, have.Name)
		if apierrors.IsNotFound(err) {
			return nil
		}
		return err
	case want == nil:
		return nil
	case !exists:
		_, err := client.EndpointSlices.Create(ctx, c.client, want)
		if apierrors.IsAlreadyExists(err) {
			return nil // the informer will show it
		}
		return err
	case same(have, want):
		return nil
	}
	next := have.DeepCopy()
	next.Labels, next.OwnerReferences, next.Endpoints, next.Ports = want.Labels, want.OwnerReferences, want.Endpoints, want.Ports
	_, err := client.EndpointSlices.Update(ctx, c.client, next)
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

func same(a, b *discoveryv1.EndpointSlice) bool {
	return equality.Semantic.DeepEqual(a.Endpoints, b.Endpoints) && equality.Semantic.DeepEqual(a.Ports, b.Ports) &&
		equality.Semantic.DeepEqual(a.Labels, b.Labels) && equality.Semantic.DeepEqual(a.OwnerReferences, b.OwnerReferences)
}

func (c *controller) ensureService(ctx context.Context) error {
	if s, ok := c.services.Get(metav1.NamespaceSystem, ServiceName); ok {
		if s.Spec.ClusterIP != c.address.String() && !foreign(s) {
			return fmt.Errorf("service kube-system/%s has the address %s, pods are told %v", ServiceName, s.Spec.ClusterIP, c.address)
		}
		return nil
	}
	_, err := client.Services.Create(ctx, c.client, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: ServiceName, Labels: map[string]string{
			"k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "KubeDNS",
		}},
		Spec: corev1.ServiceSpec{
			ClusterIP: c.address.String(),
			Ports: []corev1.ServicePort{
				{Name: "dns", Port: 53, Protocol: corev1.ProtocolUDP},
				{Name: "dns-tcp", Port: 53, Protocol: corev1.ProtocolTCP},
			},
			TrafficDistribution: ptr.To(corev1.ServiceTrafficDistributionPreferSameNode),
		},
	})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// want is what the slice of a node should be; nil for none.
func (c *controller) want(name string) *discoveryv1.EndpointSlice {
	n, ok := c.nodes.Get("", name)
	if s, there := c.services.Get(metav1.NamespaceSystem, ServiceName); !ok || there && foreign(s) {
		return nil
	}
	ready := !lost(n)
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: metav1.NamespaceSystem, Name: slicePrefix + name,
			Labels: map[string]string{discoveryv1.LabelServiceName: ServiceName, discoveryv1.LabelManagedBy: managedBy},
			// The slice goes with its node.
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: n.Name, UID: n.UID}},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
	}
	if c.address.Is6() {
		s.AddressType = discoveryv1.AddressTypeIPv6
	}
	for _, a := range dns.Announced(n) {
		if a.Addr().Is4() != c.address.Is4() || s.Ports != nil && int32(a.Port()) != *s.Ports[0].Port {
			continue
		}
		if !owns(n, a.Addr()) {
			c.log.Warn("a node announces a name server at an address that is not its own", "node", name, "address", a)
			continue
		}
		s.Ports = []discoveryv1.EndpointPort{
			{Name: ptr.To("dns"), Port: ptr.To(int32(a.Port())), Protocol: ptr.To(corev1.ProtocolUDP)},
			{Name: ptr.To("dns-tcp"), Port: ptr.To(int32(a.Port())), Protocol: ptr.To(corev1.ProtocolTCP)},
		}
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{a.Addr().String()}, NodeName: ptr.To(name),
			Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(ready), Serving: ptr.To(ready), Terminating: ptr.To(false)},
			Hints:      &discoveryv1.EndpointHints{ForNodes: []discoveryv1.ForNode{{Name: name}}},
		})
	}
	if len(s.Endpoints) == 0 {
		return nil
	}
	return s
}

// owns tells whether an address is the node's: of its pods, or one that it reports.
func owns(n *corev1.Node, ip netip.Addr) bool {
	for _, r := range n.Spec.PodCIDRs {
		if p, err := netip.ParsePrefix(r); err == nil && p.Contains(ip) {
			return true
		}
	}
	return slices.ContainsFunc(n.Status.Addresses, func(a corev1.NodeAddress) bool {
		return a.Type == corev1.NodeInternalIP && a.Address == ip.String()
	})
}
