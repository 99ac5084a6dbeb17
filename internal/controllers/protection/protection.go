// Package protection lets volumes, claims and attribute classes that are being deleted go once nobody uses them: it takes off the
// finalizer that admission (StorageObjectInUseProtection) gave them.
//
// A claim is used by pods that are not over; a volume by the claim that it is bound to; a class by
// claims and volumes that name it.
//
// Watches: PersistentVolumeClaims, PersistentVolumes, VolumeAttributesClasses, Pods. Writes: finalizers of the first three.
package protection

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/client"
	"hyperkube/internal/controllers"
	"hyperkube/internal/object"
)

// Upstream's names of the controllers.
const (
	ClaimName  = "persistentvolumeclaim-protection-controller"
	VolumeName = "persistentvolume-protection-controller"
	ClassName  = "volumeattributesclass-protection-controller"
)

var (
	claims  = client.Resource[*corev1.PersistentVolumeClaim]{GVR: corev1.SchemeGroupVersion.WithResource("persistentvolumeclaims")}
	volumes = client.Resource[*corev1.PersistentVolume]{GVR: corev1.SchemeGroupVersion.WithResource("persistentvolumes")}
	classes = client.Resource[*storagev1.VolumeAttributesClass]{GVR: storagev1.SchemeGroupVersion.WithResource("volumeattributesclasses")}
)

// controller protects the objects of one kind.
type controller[T client.Object] struct {
	name      string
	finalizer string
	client    client.Interface
	resource  client.Resource[T]
	objects   *client.Informer[T]
	queue     *client.Queue[object.Key]
	workers   int
	// used asks the API where the caches say no: nobody may lose what is in use because a cache was behind.
	used func(ctx context.Context, obj T) (bool, error)
}

func newController[T client.Object](d controllers.Deps, name, identity, finalizer string, r client.Resource[T], workers int) *controller[T] {
	c := &controller[T]{
		name: name, finalizer: finalizer, client: d.Client(identity), resource: r, workers: workers,
		objects: client.InformerFor(d.Informers, r), queue: client.NewQueue[object.Key](name),
	}
	c.objects.OnChange(func(_, new T) {
		if !isNil(new) && new.GetDeletionTimestamp() != nil {
			c.queue.Add(object.KeyOf(new))
		}
	})
	return c
}

func isNil[T client.Object](obj T) bool {
	var none T
	return any(obj) == any(none)
}

func (c *controller[T]) Name() string { return c.name }

func (c *controller[T]) Run(ctx context.Context) error {
	client.RunWorkers(ctx, c.queue, c.workers, c.reconcile)
	return nil
}

func (c *controller[T]) reconcile(ctx context.Context, key object.Key) error {
	obj, ok := c.objects.Get(key.Namespace, key.Name)
	if !ok || obj.GetDeletionTimestamp() == nil || !slices.Contains(obj.GetFinalizers(), c.finalizer) {
		return nil
	}
	if used, err := c.used(ctx, obj); used || err != nil {
		return err
	}
	next := obj.DeepCopyObject().(T)
	next.SetFinalizers(slices.DeleteFunc(next.GetFinalizers(), func(f string) bool { return f == c.finalizer }))
	_, err := c.resource.Update(ctx, c.client, next)
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil // the cache will show the newer state
	}
	return err
}

// NewClaims registers the controller of claims.
func NewClaims(d controllers.Deps, workers int) controllers.Controller {
	c := newController(d, ClaimName, "pvc-protection-controller", "kubernetes.io/pvc-protection", claims, workers)
	pods := client.InformerFor(d.Informers, client.Pods)
	c.used = func(ctx context.Context, pvc *corev1.PersistentVolumeClaim) (bool, error) {
		if slices.ContainsFunc(pods.InNamespace(pvc.Namespace), func(p *corev1.Pod) bool { return uses(p, pvc) }) {
			return true, nil
		}
		live, _, err := client.Pods.List(ctx, c.client, pvc.Namespace, metav1.ListOptions{})
		return slices.ContainsFunc(live, func(p *corev1.Pod) bool { return uses(p, pvc) }), err
	}
	// A pod that is over, or gone, may have been the last user of its claims.
	pods.OnChange(func(old, new *corev1.Pod) {
		if old == nil || new != nil && new.UID == old.UID && !over(new) {
			return
		}
		for _, name := range claimsOf(old) {
			c.queue.Add(object.Key{Namespace: old.Namespace, Name: name})
		}
	})
	return c
}

// over says that a pod's volumes are of no use to it any more: pods that were never given to a node use none either.
func over(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

func uses(p *corev1.Pod, pvc *corev1.PersistentVolumeClaim) bool {
	return p.Spec.NodeName != "" && !over(p) && slices.Contains(claimsOf(p), pvc.Name)
}

// claimsOf names the claims of a pod's volumes; one of an ephemeral volume is called after the pod and the volume.
func claimsOf(p *corev1.Pod) []string {
	var names []string
	for i := range p.Spec.Volumes {
		switch v := &p.Spec.Volumes[i]; {
		case v.PersistentVolumeClaim != nil:
			names = append(names, v.PersistentVolumeClaim.ClaimName)
		case v.Ephemeral != nil:
			names = append(names, p.Name+"-"+v.Name)
		}
	}
	return names
}

// NewVolumes registers the controller of volumes.
func NewVolumes(d controllers.Deps, workers int) controllers.Controller {
	c := newController(d, VolumeName, "pv-protection-controller", "kubernetes.io/pv-protection", volumes, workers)
	c.used = func(_ context.Context, pv *corev1.PersistentVolume) (bool, error) {
		return pv.Status.Phase == corev1.VolumeBound, nil
	}
	return c
}

// NewClasses registers the controller of attribute classes.
func NewClasses(d controllers.Deps, workers int) controllers.Controller {
	c := newController(d, ClassName, "volumeattributesclass-protection-controller", "kubernetes.io/vac-protection", classes, workers)
	pvcs, pvs := client.InformerFor(d.Informers, claims), client.InformerFor(d.Informers, volumes)
	c.used = func(_ context.Context, class *storagev1.VolumeAttributesClass) (bool, error) {
		return slices.ContainsFunc(pvs.List(), func(v *corev1.PersistentVolume) bool {
			return v.Spec.VolumeAttributesClassName != nil && *v.Spec.VolumeAttributesClassName == class.Name
		}) || slices.ContainsFunc(pvcs.List(), func(p *corev1.PersistentVolumeClaim) bool { return slices.Contains(classesOf(p), class.Name) }), nil
	}
	look := func(names []string) {
		for _, name := range names {
			c.queue.Add(object.Key{Name: name})
		}
	}
	pvcs.OnChange(func(old, _ *corev1.PersistentVolumeClaim) {
		if old != nil {
			look(classesOf(old))
		}
	})
	pvs.OnChange(func(old, _ *corev1.PersistentVolume) {
		if old != nil && old.Spec.VolumeAttributesClassName != nil {
			look([]string{*old.Spec.VolumeAttributesClassName})
		}
	})
	return c
}

// classesOf names every class that a claim wants, has, or is about to have.
func classesOf(p *corev1.PersistentVolumeClaim) []string {
	var names []string
	for _, name := range []*string{p.Spec.VolumeAttributesClassName, p.Status.CurrentVolumeAttributesClassName} {
		if name != nil {
			names = append(names, *name)
		}
	}
	if m := p.Status.ModifyVolumeStatus; m != nil {
		names = append(names, m.TargetVolumeAttributesClassName)
	}
	return names
}
