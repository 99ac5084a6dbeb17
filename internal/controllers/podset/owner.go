package podset

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"hyperkube/internal/client"
)

// Names of the indexes over pods that this package keeps.
const (
	byController = "podset/controller"
	orphans      = "podset/orphans"
	byNode       = "podset/node"
)

// IndexByController makes an informer's objects findable by the UID of their controller, and those without one
// by their namespace.
func IndexByController[T client.Object](inf *client.Informer[T]) {
	inf.AddIndex(byController, func(o T) []string {
		if ref := metav1.GetControllerOfNoCopy(o); ref != nil {
			return []string{string(ref.UID)}
		}
		return nil
	})
	inf.AddIndex(orphans, func(o T) []string {
		if metav1.GetControllerOfNoCopy(o) == nil {
			return []string{o.GetNamespace()}
		}
		return nil
	})
}

// Controlled gives the objects whose controller has the UID. IndexByController must have been called.
func Controlled[T client.Object](inf *client.Informer[T], uid types.UID) []T {
	return inf.ByIndex(byController, string(uid))
}

// Orphans gives the objects of a namespace that have no controller.
func Orphans[T client.Object](inf *client.Informer[T], namespace string) []T {
	return inf.ByIndex(orphans, namespace)
}

// IndexByNode makes pods findable by the node that they are bound to ("" for none).
func IndexByNode(inf *client.Informer[*corev1.Pod]) {
	inf.AddIndex(byNode, func(p *corev1.Pod) []string { return []string{p.Spec.NodeName} })
}

// OnNode gives the pods bound to a node. IndexByNode must have been called.
func OnNode(inf *client.Informer[*corev1.Pod], node string) []*corev1.Pod {
	return inf.ByIndex(byNode, node)
}

// Claim decides which objects belong to an owner by its selector, takes in orphans that match and lets
// go of those that no longer do. One Claim serves one reconcile.
type Claim[T client.Object] struct {
	Client   client.Interface
	Resource client.Resource[T] // of the objects claimed
	Owner    metav1.Object
	Kind     schema.GroupVersionKind // of the owner
	Selector labels.Selector
	// Finalizer is put on what is taken in and off what is let go; "" for none.
	Finalizer string
	// Fresh reads the owner from the server. It is asked once before the first adoption: a cache may still
	// show an owner that is gone, or one of the same name with another UID.
	Fresh func(ctx context.Context) (metav1.Object, error)

	once     sync.Once
	freshErr error
}

// Of gives those of the objects that the owner controls now. Objects lost to another writer meanwhile are
// left out without an error; all of them are tried before the first error is returned.
func (c *Claim[T]) Of(ctx context.Context, controlled, orphans []T) ([]T, error) {
	out := make([]T, 0, len(controlled))
	var first error
	keep := func(err error) {
		if first == nil {
			first = err
		}
	}
	for _, o := range controlled {
		if c.Selector.Matches(labels.Set(o.GetLabels())) {
			out = append(out, o)
			continue
		}
		if c.Owner.GetDeletionTimestamp() == nil {
			keep(c.release(ctx, o))
		}
	}
	for _, o := range orphans {
		if c.Owner.GetDeletionTimestamp() != nil || o.GetDeletionTimestamp() != nil || !c.Selector.Matches(labels.Set(o.GetLabels())) {
			continue
		}
		adopted, err := c.adopt(ctx, o)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			keep(err)
			continue
		}
		out = append(out, adopted)
	}
	return out, first
}

func (c *Claim[T]) adopt(ctx context.Context, o T) (T, error) {
	var none T
	c.once.Do(func() { c.freshErr = c.checkOwner(ctx) })
	if c.freshErr != nil {
		return none, fmt.Errorf("adopting %s/%s: %w", o.GetNamespace(), o.GetName(), c.freshErr)
	}
	meta := map[string]any{
		"uid": o.GetUID(),
		"ownerReferences": []metav1.OwnerReference{{
			APIVersion: c.Kind.GroupVersion().String(), Kind: c.Kind.Kind,
			Name: c.Owner.GetName(), UID: c.Owner.GetUID(),
			Controller: ptr.To(true), BlockOwnerDeletion: ptr.To(true),
		}},
	}
	if c.Finalizer != "" {
		meta["finalizers"] = []string{c.Finalizer}
	}
	return c.patch(ctx, o, map[string]any{"metadata": meta})
}

func (c *Claim[T]) checkOwner(ctx context.Context) error {
	fresh, err := c.Fresh(ctx)
	if err != nil {
		return err
	}
	if fresh.GetUID() != c.Owner.GetUID() {
		return fmt.Errorf("%s %s/%s is gone: another has its name", c.Kind.Kind, c.Owner.GetNamespace(), c.Owner.GetName())
	}
	if t := fresh.GetDeletionTimestamp(); t != nil {
		return fmt.Errorf("%s %s/%s is being deleted since %s", c.Kind.Kind, c.Owner.GetNamespace(), c.Owner.GetName(), t)
	}
	return nil
}

func (c *Claim[T]) release(ctx context.Context, o T) error {
	meta := map[string]any{
		"uid":             o.GetUID(),
		"ownerReferences": []map[string]any{{"$patch": "delete", "uid": c.Owner.GetUID()}},
	}
	if c.Finalizer != "" {
		meta["$deleteFromPrimitiveList/finalizers"] = []string{c.Finalizer}
	}
	_, err := c.patch(ctx, o, map[string]any{"metadata": meta})
	// Not found: it is gone. Invalid: the name belongs to another object now, or the reference is gone already.
	if apierrors.IsNotFound(err) || apierrors.IsInvalid(err) {
		return nil
	}
	return err
}

func (c *Claim[T]) patch(ctx context.Context, o T, body map[string]any) (T, error) {
	var none T
	data, err := json.Marshal(body)
	if err != nil {
		return none, err
	}
	got, err := c.Client.Patch(ctx, c.Resource.GVR, o.GetNamespace(), o.GetName(), types.StrategicMergePatchType, data, metav1.PatchOptions{})
	if err != nil {
		return none, err
	}
	t, ok := got.(T)
	if !ok {
		return none, fmt.Errorf("the server answered with a %T in place of a %T", got, none)
	}
	return t, nil
}
