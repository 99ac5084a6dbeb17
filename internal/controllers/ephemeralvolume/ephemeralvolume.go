// Package ephemeralvolume makes the PersistentVolumeClaims of pods' generic ephemeral volumes (KEP-1698): each is named
// after the pod and the volume, follows the volume's template, and goes with the pod, which controls it. A claim of that name
// that belongs to somebody else is left alone, and an event on the pod says so.
//
// Watches: Pods, PersistentVolumeClaims. Writes: creates claims, events. The volumes of a pod never change; so what
// wakes the controller is a new pod, and a claim that is gone or has another owner.
package ephemeralvolume

import (
	"context"
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record"
	"k8s.io/component-helpers/storage/ephemeral"

	"hyperkube/internal/client"
	"hyperkube/internal/controllers"
	"hyperkube/internal/object"
)

// Name is upstream's name of the controller.
const Name = "ephemeral-volume-controller"

// byClaim is the index over pods by the claims of their ephemeral volumes.
const byClaim = "ephemeralvolume/claim"

type controller struct {
	client  client.Interface
	pods    *client.Informer[*corev1.Pod]
	claims  *client.Informer[*corev1.PersistentVolumeClaim]
	events  record.EventRecorder
	queue   *client.Queue[object.Key] // pods
	workers int
	created prometheus.Counter
	failed  prometheus.Counter
}

// New registers the controller. workers is how many pods are worked on at a time.
func New(d controllers.Deps, workers int) controllers.Controller {
	c := &controller{
		client:  d.Client(Name),
		pods:    client.InformerFor(d.Informers, client.Pods),
		claims:  client.InformerFor(d.Informers, client.PersistentVolumeClaims),
		events:  d.Recorder("ephemeral_volume"),
		queue:   client.NewQueue[object.Key](Name),
		workers: workers,
		created: d.Counter("ephemeral_volume_controller_create_total", "Number of PersistentVolumeClaim creation requests").WithLabelValues(),
		failed:  d.Counter("ephemeral_volume_controller_create_failures_total", "Number of PersistentVolumeClaim creation requests").WithLabelValues(),
	}
	c.pods.AddIndex(byClaim, func(p *corev1.Pod) []string {
		var keys []string
		for _, v := range volumes(p) {
			keys = append(keys, object.Key{Namespace: p.Namespace, Name: ephemeral.VolumeClaimName(p, v)}.String())
		}
		return keys
	})
	c.pods.OnChange(func(old, new *corev1.Pod) {
		if new != nil && (old == nil || old.UID != new.UID) && len(volumes(new)) > 0 {
			c.queue.Add(object.KeyOf(new))
		}
	})
	c.claims.OnChange(func(old, new *corev1.PersistentVolumeClaim) {
		if old == nil || new != nil && owner(new) == owner(old) {
			return
		}
		for _, p := range c.pods.ByIndex(byClaim, object.KeyOf(old).String()) {
			c.queue.Add(object.KeyOf(p))
		}
	})
	return c
}

// volumes are the pod's generic ephemeral volumes.
func volumes(p *corev1.Pod) []*corev1.Volume {
	var found []*corev1.Volume
	for i := range p.Spec.Volumes {
		if v := &p.Spec.Volumes[i]; v.Ephemeral != nil && v.Ephemeral.VolumeClaimTemplate != nil {
			found = append(found, v)
		}
	}
	return found
}

// owner identifies who controls a claim; empty for nobody.
func owner(claim *corev1.PersistentVolumeClaim) string {
	if ref := metav1.GetControllerOf(claim); ref != nil {
		return string(ref.UID)
	}
	return ""
}

func (c *controller) Name() string { return Name }

func (c *controller) Run(ctx context.Context) error {
	client.RunWorkers(ctx, c.queue, c.workers, c.reconcile)
	return nil
}

func (c *controller) reconcile(ctx context.Context, key object.Key) error {
	pod, ok := c.pods.Get(key.Namespace, key.Name)
	if !ok || pod.DeletionTimestamp != nil || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return nil
	}
	var errs []error
	for _, v := range volumes(pod) {
		errs = append(errs, c.ensure(ctx, pod, v))
	}
	return errors.Join(errs...)
}

// ensure makes the claim of one volume unless it is there.
func (c *controller) ensure(ctx context.Context, pod *corev1.Pod, v *corev1.Volume) error {
	name := ephemeral.VolumeClaimName(pod, v)
	have, ok := c.claims.Get(pod.Namespace, name)
	if !ok {
		var err error
		c.created.Inc()
		if _, err = client.PersistentVolumeClaims.Create(ctx, c.client, claim(pod, v)); err == nil {
			return nil
		}
		c.failed.Inc()
		if !apierrors.IsAlreadyExists(err) {
			err = fmt.Errorf("create PVC %s: %w", name, err)
			c.complain(pod, v, err)
			return err
		}
		// The cache is behind, and it may be our own.
		if have, err = client.PersistentVolumeClaims.Get(ctx, c.client, pod.Namespace, name); err != nil {
			return fmt.Errorf("PVC %s, which exists already: %w", name, err)
		}
	}
	// Trying again would not help. A claim that goes, or that is handed to the pod, wakes us.
	if err := ephemeral.VolumeIsForPod(pod, have); err != nil {
		c.complain(pod, v, err)
	}
	return nil
}

func (c *controller) complain(pod *corev1.Pod, v *corev1.Volume, err error) {
	c.events.Eventf(pod, corev1.EventTypeWarning, "FailedBinding", "ephemeral volume %s: %v", v.Name, err)
}

// claim is what a volume's template asks for. Of its metadata only labels and annotations count.
func claim(pod *corev1.Pod, v *corev1.Volume) *corev1.PersistentVolumeClaim {
	t := v.Ephemeral.VolumeClaimTemplate
	return &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: pod.Namespace, Name: ephemeral.VolumeClaimName(pod, v),
			Labels: t.Labels, Annotations: t.Annotations,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(pod, corev1.SchemeGroupVersion.WithKind("Pod"))},
		},
		Spec: *t.Spec.DeepCopy(),
	}
}
