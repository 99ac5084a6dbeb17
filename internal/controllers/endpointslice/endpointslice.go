// Package endpointslice lists the pods behind every service with a selector in EndpointSlices (discovery.k8s.io/v1).
//
// Watches: Services, Pods, EndpointSlices, Nodes (for zones). Writes: EndpointSlices with the label
// endpointslice.kubernetes.io/managed-by=endpointslice-controller.k8s.io, at most 100 endpoints each; there is always at
// least one for each address family of the service. Slices go with their service through the garbage collector.
//
// A service whose slices were written waits until the cache shows them before it is looked at again.
package endpointslice

import (
	"context"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record"

	"hyperkube/internal/client"
	"hyperkube/internal/controllers"
	"hyperkube/internal/controllers/podset"
	"hyperkube/internal/controllers/serving"
	"hyperkube/internal/object"
)

// Name is upstream's name of the controller.
const Name = "endpointslice-controller"

// ManagedBy marks the slices of this controller.
const ManagedBy = "endpointslice-controller.k8s.io"

type controller struct {
	client   client.Interface
	events   record.EventRecorder
	services *client.Informer[*corev1.Service]
	pods     *client.Informer[*corev1.Pod]
	nodes    *client.Informer[*corev1.Node]
	slices   *serving.Slices
	triggers *serving.Triggers
	queue    *client.Queue[object.Key]
	workers  int
	most     int
}

// New registers the controller. workers is how many services are worked on at a time, most how many endpoints a slice
// may have (0 is 100).
func New(d controllers.Deps, workers, most int) controllers.Controller {
	if most <= 0 {
		most = 100
	}
	c := &controller{
		client:   d.Client("endpointslice-controller"),
		events:   d.Recorder("endpoint-slice-controller"),
		services: client.InformerFor(d.Informers, client.Services),
		pods:     client.InformerFor(d.Informers, client.Pods),
		nodes:    client.InformerFor(d.Informers, client.Nodes),
		triggers: serving.NewTriggers(),
		queue:    client.NewQueue[object.Key](Name),
		workers:  workers,
		most:     most,
	}
	podset.IndexByNode(c.pods)
	c.slices = serving.NewSlices(c.client, d.Informers, ManagedBy, c.queue.Add)
	c.services.OnChange(func(old, new *corev1.Service) {
		if new == nil {
			new = old
		}
		c.queue.Add(object.KeyOf(new))
	})
	serving.OnPods(c.pods, c.services, func(s *corev1.Service) { c.queue.Add(object.KeyOf(s)) })
	c.nodes.OnChange(c.nodeChanged)
	return c
}

func (c *controller) Name() string { return Name }

func (c *controller) Run(ctx context.Context) error {
	client.RunWorkers(ctx, c.queue, c.workers, c.reconcile)
	return nil
}

// nodeChanged looks at the services of a node's pods when the node's zone becomes known or changes.
func (c *controller) nodeChanged(old, new *corev1.Node) {
	if new == nil || (old != nil && old.Labels[corev1.LabelTopologyZone] == new.Labels[corev1.LabelTopologyZone]) ||
		(old == nil && new.Labels[corev1.LabelTopologyZone] == "") {
		return
	}
	for _, p := range podset.OnNode(c.pods, new.Name) {
		for _, s := range c.services.InNamespace(p.Namespace) {
			if serving.Selects(s, p) {
				c.queue.Add(object.KeyOf(s))
			}
		}
	}
}

func (c *controller) reconcile(ctx context.Context, key object.Key) error {
	svc, ok := c.services.Get(key.Namespace, key.Name)
	if !ok {
		c.slices.Forget(key)
		c.triggers.Forget(key)
		return nil
	}
	if !serving.Served(svc) || svc.DeletionTimestamp != nil {
		return nil
	}
	existing, current := c.slices.Of(key, time.Now())
	if !current {
		c.queue.AddAfter(key, serving.TrackFor)
		return nil
	}
	pods := serving.Members(c.pods, svc)
	plan := serving.Arrange(existing, c.groups(svc, pods), c.most, func(s *discoveryv1.EndpointSlice) { shape(s, svc) })
	trigger := c.triggers.Next(svc, pods)
	err := c.slices.Apply(ctx, key, plan, trigger)
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil // the newer state is on its way here
	}
	if err != nil {
		c.events.Eventf(svc, corev1.EventTypeWarning, "FailedToUpdateEndpointSlices", "Error updating Endpoint Slices for Service %s/%s: %v", svc.Namespace, svc.Name, err)
	}
	return err
}

// groups are the endpoints wanted, by address family and by ports: pods may give one port name different numbers.
func (c *controller) groups(svc *corev1.Service, pods []*corev1.Pod) []serving.Group {
	var out []serving.Group
	for _, family := range serving.Families(svc) {
		byPorts := map[string]int{}
		first := len(out)
		for _, pod := range pods {
			ip := serving.Address(pod, family)
			if ip == "" || !serving.Belongs(pod, true) {
				continue
			}
			g := serving.Group{AddressType: discoveryv1.AddressType(family), Ports: serving.PodPorts(svc, pod)}
			i, ok := byPorts[g.Key()]
			if !ok {
				i = len(out)
				byPorts[g.Key()] = i
				out = append(out, g)
			}
			node, _ := c.nodes.Get("", pod.Spec.NodeName)
			e := serving.PodEndpoint(svc, pod, node, ip)
			hint(svc, &e)
			out[i].Endpoints = append(out[i].Endpoints, e)
		}
		if len(out) == first {
			out = append(out, serving.Group{AddressType: discoveryv1.AddressType(family)})
		}
	}
	return out
}

// hint says for which zone and node an endpoint is meant, as spec.trafficDistribution wishes (KEP-4444, KEP-3015).
func hint(svc *corev1.Service, e *discoveryv1.Endpoint) {
	if svc.Spec.TrafficDistribution == nil || e.Conditions.Ready == nil || !*e.Conditions.Ready {
		return
	}
	var h discoveryv1.EndpointHints
	d := *svc.Spec.TrafficDistribution
	switch d {
	case corev1.ServiceTrafficDistributionPreferClose, corev1.ServiceTrafficDistributionPreferSameZone, corev1.ServiceTrafficDistributionPreferSameNode:
		if e.Zone != nil {
			h.ForZones = []discoveryv1.ForZone{{Name: *e.Zone}}
		}
		if d == corev1.ServiceTrafficDistributionPreferSameNode && e.NodeName != nil {
			h.ForNodes = []discoveryv1.ForNode{{Name: *e.NodeName}}
		}
	}
	if len(h.ForZones)+len(h.ForNodes) > 0 {
		e.Hints = &h
	}
}

var kind = corev1.SchemeGroupVersion.WithKind("Service")

// shape gives a slice the labels and the owner that the service's slices have.
func shape(s *discoveryv1.EndpointSlice, svc *corev1.Service) {
	if s.Name == "" {
		s.Namespace, s.GenerateName = svc.Namespace, svc.Name+"-"
	}
	labels := make(map[string]string, len(svc.Labels)+3)
	maps.Copy(labels, svc.Labels)
	delete(labels, corev1.IsHeadlessService)
	labels[discoveryv1.LabelServiceName] = svc.Name
	labels[discoveryv1.LabelManagedBy] = ManagedBy
	if serving.Headless(svc) {
		labels[corev1.IsHeadlessService] = ""
	}
	s.Labels = labels
	if !metav1.IsControlledBy(s, svc) {
		s.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(svc, kind)}
	}
}
