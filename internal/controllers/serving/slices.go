package serving

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/client"
	"hyperkube/internal/object"
)

const byService = "serving/service"

// Slices are the EndpointSlices that one controller manages.
type Slices struct {
	Client    client.Interface
	ManagedBy string // the value of the label endpointslice.kubernetes.io/managed-by
	inf       *client.Informer[*discoveryv1.EndpointSlice]
	tracker   *Tracker
}

// NewSlices indexes the informer, and calls changed for the service of every slice of the manager that somebody
// else changed or deleted.
func NewSlices(c client.Interface, f *client.Informers, managedBy string, changed func(service object.Key)) *Slices {
	s := &Slices{Client: c, ManagedBy: managedBy, inf: client.InformerFor(f, client.EndpointSlices), tracker: NewTracker()}
	s.inf.AddIndex(byService, func(e *discoveryv1.EndpointSlice) []string {
		if svc := e.Labels[discoveryv1.LabelServiceName]; svc != "" {
			return []string{object.Key{Namespace: e.Namespace, Name: svc}.String()}
		}
		return nil
	})
	s.inf.OnChange(func(old, new *discoveryv1.EndpointSlice) {
		for _, e := range []*discoveryv1.EndpointSlice{old, new} {
			if e == nil || e.Labels[discoveryv1.LabelManagedBy] != managedBy {
				continue
			}
			key := object.Key{Namespace: e.Namespace, Name: e.Labels[discoveryv1.LabelServiceName]}
			if new == nil {
				s.tracker.Vanished(key, e.UID)
			}
			changed(key)
		}
	})
	return s
}

// Of gives the manager's slices of a service. ok is false while the cache does not show all that was written.
func (s *Slices) Of(service object.Key, now time.Time) (live []*discoveryv1.EndpointSlice, ok bool) {
	var all []*discoveryv1.EndpointSlice
	for _, e := range s.inf.ByIndex(byService, service.String()) {
		if e.Labels[discoveryv1.LabelManagedBy] != s.ManagedBy {
			continue
		}
		all = append(all, e)
		if e.DeletionTimestamp == nil {
			live = append(live, e)
		}
	}
	return live, !s.tracker.Behind(service, all, now)
}

// Forget drops what is remembered of a service that is gone.
func (s *Slices) Forget(service object.Key) { s.tracker.Forget(service) }

// Apply writes a plan. trigger, unless zero, goes into the annotation of every slice written.
func (s *Slices) Apply(ctx context.Context, service object.Key, p Plan, trigger time.Time) error {
	for _, e := range p.Create {
		stamp(e, trigger)
		got, err := client.EndpointSlices.Create(ctx, s.Client, e)
		if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("creating an EndpointSlice for %s: %w", service, err)
		}
		s.tracker.Wrote(service, got, time.Now())
	}
	for _, e := range p.Update {
		stamp(e, trigger)
		got, err := client.EndpointSlices.Update(ctx, s.Client, e)
		if err != nil {
			return fmt.Errorf("updating EndpointSlice %s/%s: %w", e.Namespace, e.Name, err)
		}
		s.tracker.Wrote(service, got, time.Now())
	}
	for _, e := range p.Delete {
		err := s.Client.Delete(ctx, client.EndpointSlices.GVR, e.Namespace, e.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(e.UID))})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("deleting EndpointSlice %s/%s: %w", e.Namespace, e.Name, err)
		}
		s.tracker.Removed(service, e, time.Now())
	}
	return nil
}

func stamp(e *discoveryv1.EndpointSlice, at time.Time) {
	SetTrigger(&e.ObjectMeta, at)
}

// SetTrigger writes the time of the change that caused a write into an object's annotations; zero takes the old one out.
func SetTrigger(m *metav1.ObjectMeta, at time.Time) {
	if at.IsZero() {
		delete(m.Annotations, corev1.EndpointsLastChangeTriggerTime)
		return
	}
	if m.Annotations == nil {
		m.Annotations = map[string]string{}
	}
	m.Annotations[corev1.EndpointsLastChangeTriggerTime] = at.UTC().Format(time.RFC3339Nano)
}
