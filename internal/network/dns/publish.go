package dns

import (
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"hyperkube/internal/client"
)

const (
	// ServiceNamespace and ServiceName are where clients know the cluster's DNS, as kubeadm's.
	ServiceNamespace = metav1.NamespaceSystem
	ServiceName      = "kube-dns"

	managedBy = "dns.hyperkube"
)

// publisher keeps the Service of the cluster's DNS, this node's EndpointSlice of it, and the readiness of the others' slices.
type publisher struct {
	c       client.Interface
	cfg     Config
	objects *informers
	nodes   *client.Informer[*corev1.Node]
	queue   *client.Queue[string]
}

// serviceItem is the queue's key for the Service; others are nodes' names.
const serviceItem = ""

func newPublisher(c client.Interface, f *client.Informers, objects *informers, cfg Config) *publisher {
	p := &publisher{c: c, cfg: cfg, objects: objects, nodes: client.InformerFor(f, client.Nodes), queue: client.NewQueue[string]("dns")}
	p.nodes.OnChange(func(old, new *corev1.Node) {
		switch {
		case old == nil:
			p.queue.Add(new.Name)
		case new == nil:
			p.queue.Add(old.Name)
		case lost(old) != lost(new) || old.UID != new.UID:
			p.queue.Add(new.Name)
		}
	})
	objects.services.OnChange(func(old, new *corev1.Service) {
		if s := cmpNil(new, old); s.Name == ServiceName && s.Namespace == ServiceNamespace {
			p.queue.Add(serviceItem)
		}
	})
	objects.endpoints.OnChange(func(old, new *discoveryv1.EndpointSlice) {
		if node, ok := nodeOfSlice(cmpNil(new, old)); ok {
			p.queue.Add(node)
		}
	})
	return p
}

func cmpNil[T any](a, b *T) *T {
	if a != nil {
		return a
	}
	return b
}

func sliceName(node string) string { return ServiceName + "-" + node }

func nodeOfSlice(s *discoveryv1.EndpointSlice) (string, bool) {
	if s.Namespace != ServiceNamespace || s.Labels[discoveryv1.LabelManagedBy] != managedBy {
		return "", false
	}
	return strings.CutPrefix(s.Name, ServiceName+"-")
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

func (p *publisher) run(ctx context.Context) {
	p.queue.Add(serviceItem)
	p.queue.Add(p.cfg.NodeName)
	client.RunWorkers(ctx, p.queue, 1, p.reconcile)
}

func (p *publisher) reconcile(ctx context.Context, node string) error {
	switch node {
	case serviceItem:
		return p.ensureService(ctx)
	case p.cfg.NodeName:
		return p.ensureOwn(ctx)
	}
	return p.ensureOther(ctx, node)
}

func (p *publisher) ensureService(ctx context.Context) error {
	if s, ok := p.objects.service(ServiceNamespace, ServiceName); ok {
		if s.Spec.ClusterIP != p.cfg.ClusterIP.String() {
			return fmt.Errorf("service %s/%s has the address %s, pods are told %v", ServiceNamespace, ServiceName, s.Spec.ClusterIP, p.cfg.ClusterIP)
		}
		return nil
	}
	_, err := client.Services.Create(ctx, p.c, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: ServiceNamespace, Name: ServiceName, Labels: map[string]string{
			"k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "KubeDNS",
		}},
		Spec: corev1.ServiceSpec{
			ClusterIP: p.cfg.ClusterIP.String(),
			Ports: []corev1.ServicePort{
				{Name: "dns", Port: 53, Protocol: corev1.ProtocolUDP},
				{Name: "dns-tcp", Port: 53, Protocol: corev1.ProtocolTCP},
			},
			TrafficDistribution: ptr.To(corev1.ServiceTrafficDistributionPreferSameNode),
		},
	})
	if apierrors.IsAlreadyExists(err) {
		return nil // another node's server was first
	}
	return err
}

// ensureOwn makes this node's slice what it should be.
func (p *publisher) ensureOwn(ctx context.Context) error {
	node, known := p.nodes.Get("", p.cfg.NodeName)
	want := p.slice(node, !known || !lost(node))
	have, err := client.EndpointSlices.Get(ctx, p.c, ServiceNamespace, want.Name)
	if apierrors.IsNotFound(err) {
		_, err = client.EndpointSlices.Create(ctx, p.c, want)
		return err
	}
	if err != nil {
		return err
	}
	if equality.Semantic.DeepEqual(have.Endpoints, want.Endpoints) && equality.Semantic.DeepEqual(have.Ports, want.Ports) &&
		equality.Semantic.DeepEqual(have.Labels, want.Labels) && equality.Semantic.DeepEqual(have.OwnerReferences, want.OwnerReferences) {
		return nil
	}
	next := have.DeepCopy()
	next.Labels, next.OwnerReferences, next.Endpoints, next.Ports = want.Labels, want.OwnerReferences, want.Endpoints, want.Ports
	_, err = client.EndpointSlices.Update(ctx, p.c, next)
	return err
}

func (p *publisher) slice(node *corev1.Node, ready bool) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: ServiceNamespace, Name: sliceName(p.cfg.NodeName), Labels: map[string]string{
			discoveryv1.LabelServiceName: ServiceName, discoveryv1.LabelManagedBy: managedBy,
		}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports: []discoveryv1.EndpointPort{
			{Name: ptr.To("dns"), Port: ptr.To(int32(p.cfg.Port)), Protocol: ptr.To(corev1.ProtocolUDP)},
			{Name: ptr.To("dns-tcp"), Port: ptr.To(int32(p.cfg.Port)), Protocol: ptr.To(corev1.ProtocolTCP)},
		},
	}
	if node != nil { // the slice goes with its node
		s.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: node.Name, UID: node.UID}}
	}
	for _, ip := range p.cfg.BindAddresses {
		if ip.Is4() != p.cfg.ClusterIP.Is4() || ip.IsLoopback() { // nobody else could reach it
			continue
		}
		if ip.Is6() {
			s.AddressType = discoveryv1.AddressTypeIPv6
		}
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{ip.String()}, NodeName: ptr.To(p.cfg.NodeName),
			Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(ready), Serving: ptr.To(ready), Terminating: ptr.To(false)},
			Hints:      &discoveryv1.EndpointHints{ForNodes: []discoveryv1.ForNode{{Name: p.cfg.NodeName}}},
		})
	}
	return s
}

// ensureOther marks another node's slice as not ready while the node is lost. All servers come to the same
// conclusion, so they never undo each other's writes.
func (p *publisher) ensureOther(ctx context.Context, name string) error {
	node, known := p.nodes.Get("", name)
	ready := known && !lost(node)
	_, err := client.EndpointSlices.Modify(ctx, p.c, ServiceNamespace, sliceName(name), func(s *discoveryv1.EndpointSlice) bool {
		if _, ours := nodeOfSlice(s); !ours {
			return false
		}
		changed := false
		for i := range s.Endpoints {
			c := &s.Endpoints[i].Conditions
			if c.Ready == nil || *c.Ready != ready {
				c.Ready, c.Serving, changed = ptr.To(ready), ptr.To(ready), true
			}
		}
		return changed
	})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
