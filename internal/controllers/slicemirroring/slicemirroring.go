// Package slicemirroring copies Endpoints that people wrote by hand, for services without a selector, into
// EndpointSlices, which proxies read (KEP-752).
//
// Watches: Endpoints, Services, EndpointSlices. Writes: EndpointSlices with the label
// endpointslice.kubernetes.io/managed-by=endpointslicemirroring-controller.k8s.io, owned by the Endpoints. Endpoints with
// the label endpointslice.kubernetes.io/skip-mirror=true or a leader election's annotation are left alone.
package slicemirroring

import (
	"context"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/utils/ptr"

	"hyperkube/internal/client"
	"hyperkube/internal/controllers"
	"hyperkube/internal/controllers/serving"
	"hyperkube/internal/object"
)

// Name is upstream's name of the controller.
const Name = "endpointslice-mirroring-controller"

// ManagedBy marks the slices of this controller.
const ManagedBy = "endpointslicemirroring-controller.k8s.io"

type controller struct {
	client    client.Interface
	endpoints *client.Informer[*corev1.Endpoints]
	services  *client.Informer[*corev1.Service]
	slices    *serving.Slices
	queue     *client.Queue[object.Key]
	workers   int
	most      int
}

// New registers the controller. most is how many addresses of one subset are mirrored (0 is 1000).
func New(d controllers.Deps, workers, most int) controllers.Controller {
	if most <= 0 {
		most = 1000
	}
	c := &controller{
		client:    d.Client("endpointslicemirroring-controller"),
		endpoints: client.InformerFor(d.Informers, client.Endpoints),
		services:  client.InformerFor(d.Informers, client.Services),
		queue:     client.NewQueue[object.Key](Name),
		workers:   workers,
		most:      most,
	}
	c.slices = serving.NewSlices(c.client, d.Informers, ManagedBy, c.queue.Add)
	c.endpoints.OnChange(func(old, new *corev1.Endpoints) {
		if (old != nil && mirrored(old)) || (new != nil && mirrored(new)) {
			if new == nil {
				new = old
			}
			c.queue.Add(object.KeyOf(new))
		}
	})
	c.services.OnChange(func(old, new *corev1.Service) {
		if old == nil || new == nil || (len(old.Spec.Selector) == 0) != (len(new.Spec.Selector) == 0) {
			if new == nil {
				new = old
			}
			c.queue.Add(object.KeyOf(new))
		}
	})
	return c
}

func (c *controller) Name() string { return Name }

func (c *controller) Run(ctx context.Context) error {
	client.RunWorkers(ctx, c.queue, c.workers, c.reconcile)
	return nil
}

func mirrored(e *corev1.Endpoints) bool {
	_, election := e.Annotations[resourcelock.LeaderElectionRecordAnnotationKey]
	return !election && e.Labels[discoveryv1.LabelSkipMirror] != "true"
}

func (c *controller) reconcile(ctx context.Context, key object.Key) error {
	existing, current := c.slices.Of(key, time.Now())
	if !current {
		c.queue.AddAfter(key, serving.TrackFor)
		return nil
	}
	e, ok := c.endpoints.Get(key.Namespace, key.Name)
	svc, served := c.services.Get(key.Namespace, key.Name)
	var groups []serving.Group
	shape := func(*discoveryv1.EndpointSlice) {}
	if ok && served && e.DeletionTimestamp == nil && mirrored(e) && len(svc.Spec.Selector) == 0 {
		groups = split(e, c.most)
		shape = func(s *discoveryv1.EndpointSlice) { dress(s, e) }
	}
	plan := serving.Arrange(existing, groups, c.most, shape)
	err := c.slices.Apply(ctx, key, plan, time.Time{})
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil
	}
	if err == nil && !ok {
		c.slices.Forget(key)
	}
	return err
}

// split turns subsets into groups of one address family each.
func split(e *corev1.Endpoints, most int) []serving.Group {
	var out []serving.Group
	at := map[string]int{}
	add := func(t discoveryv1.AddressType, ports []discoveryv1.EndpointPort, ep discoveryv1.Endpoint) {
		g := serving.Group{AddressType: t, Ports: ports}
		i, ok := at[g.Key()]
		if !ok {
			i = len(out)
			at[g.Key()] = i
			out = append(out, g)
		}
		out[i].Endpoints = append(out[i].Endpoints, ep)
	}
	for _, s := range e.Subsets {
		ports := make([]discoveryv1.EndpointPort, len(s.Ports))
		for i, p := range s.Ports {
			ports[i] = discoveryv1.EndpointPort{Name: ptr.To(p.Name), Port: ptr.To(p.Port), Protocol: ptr.To(p.Protocol), AppProtocol: p.AppProtocol}
		}
		n := 0
		each := func(as []corev1.EndpointAddress, ready bool) {
			for i := range as {
				family := serving.FamilyOf(as[i].IP)
				if family == "" || n >= most {
					continue
				}
				n++
				add(discoveryv1.AddressType(family), ports, endpoint(&as[i], ready))
			}
		}
		each(s.Addresses, true)
		each(s.NotReadyAddresses, false)
	}
	return out
}

func endpoint(a *corev1.EndpointAddress, ready bool) discoveryv1.Endpoint {
	e := discoveryv1.Endpoint{
		Addresses:  []string{a.IP},
		Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(ready)},
		TargetRef:  a.TargetRef,
		NodeName:   a.NodeName,
	}
	if a.Hostname != "" {
		e.Hostname = ptr.To(a.Hostname)
	}
	return e
}

var kind = corev1.SchemeGroupVersion.WithKind("Endpoints")

// dress gives a slice the labels, annotations and owner of mirrored slices.
func dress(s *discoveryv1.EndpointSlice, e *corev1.Endpoints) {
	if s.Name == "" {
		s.Namespace, s.GenerateName = e.Namespace, e.Name+"-"
	}
	labels := make(map[string]string, len(e.Labels)+2)
	maps.Copy(labels, e.Labels)
	labels[discoveryv1.LabelServiceName] = e.Name
	labels[discoveryv1.LabelManagedBy] = ManagedBy
	s.Labels = labels
	annotations := make(map[string]string, len(e.Annotations))
	maps.Copy(annotations, e.Annotations)
	delete(annotations, corev1.LastAppliedConfigAnnotation)
	delete(annotations, corev1.EndpointsLastChangeTriggerTime)
	s.Annotations = annotations
	if !metav1.IsControlledBy(s, e) {
		s.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(e, kind)}
	}
}
