// Package endpoints lists the pods behind every service with a selector in the Endpoints of the same name
// (core/v1), which older clients read.
//
// Watches: Services, Pods, Endpoints. Writes: Endpoints. Those of a service that is deleted are deleted too. More
// than 1000 addresses are cut off and the annotation endpoints.kubernetes.io/over-capacity says so.
package endpoints

import (
	"context"
	"maps"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record"

	"hyperkube/internal/client"
	"hyperkube/internal/controllers"
	"hyperkube/internal/controllers/serving"
	"hyperkube/internal/object"
)

// Name is upstream's name of the controller.
const Name = "endpoints-controller"

// The label that marks Endpoints of this controller.
const (
	LabelManagedBy = "endpoints.kubernetes.io/managed-by"
	ManagedBy      = "endpoint-controller"
)

type controller struct {
	client    client.Interface
	events    record.EventRecorder
	services  *client.Informer[*corev1.Service]
	pods      *client.Informer[*corev1.Pod]
	endpoints *client.Informer[*corev1.Endpoints]
	triggers  *serving.Triggers
	queue     *client.Queue[object.Key]
	workers   int
}

// New registers the controller. workers is how many services are worked on at a time.
func New(d controllers.Deps, workers int) controllers.Controller {
	c := &controller{
		client:    d.Client("endpoint-controller"),
		events:    d.Recorder("endpoint-controller"),
		services:  client.InformerFor(d.Informers, client.Services),
		pods:      client.InformerFor(d.Informers, client.Pods),
		endpoints: client.InformerFor(d.Informers, client.Endpoints),
		triggers:  serving.NewTriggers(),
		queue:     client.NewQueue[object.Key](Name),
		workers:   workers,
	}
	c.services.OnChange(func(old, new *corev1.Service) {
		if new == nil {
			new = old
		}
		c.queue.Add(object.KeyOf(new))
	})
	serving.OnPods(c.pods, c.services, func(s *corev1.Service) { c.queue.Add(object.KeyOf(s)) })
	c.endpoints.OnChange(c.endpointsChanged)
	return c
}

func (c *controller) Name() string { return Name }

func (c *controller) Run(ctx context.Context) error {
	client.RunWorkers(ctx, c.queue, c.workers, c.reconcile)
	return nil
}

// endpointsChanged follows deletions, and what is marked as ours: after a start there may be some whose service has
// gone meanwhile.
func (c *controller) endpointsChanged(old, new *corev1.Endpoints) {
	switch {
	case new == nil:
		c.queue.Add(object.KeyOf(old))
	case new.Labels[LabelManagedBy] == ManagedBy:
		c.queue.Add(object.KeyOf(new))
	}
}

func (c *controller) reconcile(ctx context.Context, key object.Key) error {
	svc, ok := c.services.Get(key.Namespace, key.Name)
	if !ok {
		return c.remove(ctx, key)
	}
	if !serving.Served(svc) || svc.DeletionTimestamp != nil {
		return nil
	}
	pods := serving.Members(c.pods, svc)
	have, exists := c.endpoints.Get(key.Namespace, key.Name)
	next := draft(svc, have, pods)
	if exists && same(have, next) {
		return nil
	}
	serving.SetTrigger(&next.ObjectMeta, c.triggers.Next(svc, pods))
	var err error
	if exists {
		_, err = client.Endpoints.Update(ctx, c.client, next)
	} else {
		_, err = client.Endpoints.Create(ctx, c.client, next)
	}
	switch {
	case err == nil, apierrors.IsConflict(err), apierrors.IsAlreadyExists(err), apierrors.IsNotFound(err),
		apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		// Where another version is there, it brings the key back.
		if err != nil && !exists && apierrors.IsAlreadyExists(err) {
			c.queue.AddRateLimited(key)
		}
		return nil
	case exists:
		c.events.Eventf(next, corev1.EventTypeWarning, "FailedToUpdateEndpoint", "Failed to update endpoint %v/%v: %v", key.Namespace, key.Name, err)
	default:
		c.events.Eventf(next, corev1.EventTypeWarning, "FailedToCreateEndpoint", "Failed to create endpoint for service %v/%v: %v", key.Namespace, key.Name, err)
	}
	return err
}

func (c *controller) remove(ctx context.Context, key object.Key) error {
	c.triggers.Forget(key)
	if _, ok := c.endpoints.Get(key.Namespace, key.Name); !ok {
		return nil
	}
	if err := client.Endpoints.Delete(ctx, c.client, key.Namespace, key.Name); err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	return nil
}

// draft is what the service's Endpoints should be; have may be nil.
func draft(svc *corev1.Service, have *corev1.Endpoints, pods []*corev1.Pod) *corev1.Endpoints {
	next := &corev1.Endpoints{ObjectMeta: metav1.ObjectMeta{Namespace: svc.Namespace, Name: svc.Name}}
	if have != nil {
		next = have.DeepCopy()
	}
	labels := make(map[string]string, len(svc.Labels)+2)
	maps.Copy(labels, svc.Labels)
	delete(labels, corev1.IsHeadlessService)
	if serving.Headless(svc) {
		labels[corev1.IsHeadlessService] = ""
	}
	labels[LabelManagedBy] = ManagedBy
	next.Labels = labels
	subsets, truncated := truncate(subsets(svc, pods))
	next.Subsets = subsets
	if truncated {
		if next.Annotations == nil {
			next.Annotations = map[string]string{}
		}
		next.Annotations[corev1.EndpointsOverCapacity] = "truncated"
	} else {
		delete(next.Annotations, corev1.EndpointsOverCapacity)
	}
	return next
}

func same(a, b *corev1.Endpoints) bool {
	return apiequality.Semantic.DeepEqual(a.Subsets, b.Subsets) && maps.Equal(a.Labels, b.Labels) &&
		a.Annotations[corev1.EndpointsOverCapacity] == b.Annotations[corev1.EndpointsOverCapacity]
}
