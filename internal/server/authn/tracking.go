package authn

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/client"
)

// trackingMap tells since which day the use of tokens of the old kind is written on their secrets: nobody may conclude from a label
// that is not there what happened before (KEP-2799).
const (
	trackingMap = "kube-apiserver-legacy-service-account-token-tracking"
	trackingKey = "since"
)

// Tracking keeps the config map that says since when tokens of the old kind are tracked.
type Tracking struct {
	api   client.Interface
	now   func() time.Time
	maps  *client.Informer[*corev1.ConfigMap]
	queue *client.Queue[string]
	after <-chan struct{}
}

// NewTracking registers with the informers. Nothing is written before the channel is closed, which is to say that kube-system is there.
func NewTracking(api client.Interface, informers *client.Informers, after <-chan struct{}) *Tracking {
	t := &Tracking{api: api, now: time.Now, after: after, queue: client.NewQueue[string]("legacy_token_tracking"),
		maps: client.InformerWith(informers, client.ConfigMaps, client.Select{Namespace: metav1.NamespaceSystem, Fields: "metadata.name=" + trackingMap})}
	t.maps.OnChange(func(_, _ *corev1.ConfigMap) { t.queue.Add(trackingMap) })
	return t
}

// Run keeps the config map until ctx ends.
func (t *Tracking) Run(ctx context.Context) error {
	select {
	case <-t.after:
	case <-ctx.Done():
		return nil
	}
	if t.maps.WaitForSync(ctx) != nil {
		return nil
	}
	t.queue.Add(trackingMap)
	client.RunWorkers(ctx, t.queue, 1, func(ctx context.Context, _ string) error { return t.keep(ctx) })
	return nil
}

// keep writes today's date where there is none that can be read.
func (t *Tracking) keep(ctx context.Context) error {
	today := t.now().UTC().Format(time.DateOnly)
	have, ok := t.maps.Get(metav1.NamespaceSystem, trackingMap)
	if !ok {
		_, err := client.ConfigMaps.Create(ctx, t.api, &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: trackingMap}, Data: map[string]string{trackingKey: today}})
		if apierrors.IsAlreadyExists(err) {
			return nil // of another server; the informer tells of it
		}
		return err
	}
	if _, err := time.Parse(time.DateOnly, have.Data[trackingKey]); err == nil {
		return nil
	}
	next := have.DeepCopy()
	next.Data = map[string]string{trackingKey: today}
	_, err := client.ConfigMaps.Update(ctx, t.api, next)
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil // it has changed, which the informer tells of
	}
	return err
}
