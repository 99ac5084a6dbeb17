package gc

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"hyperkube/internal/client"
)

// verdict is what is known of an owner.
type verdict int

const (
	solid   verdict = iota // it lives, or nothing can be said: the dependent stays
	missing                // the server says that it is gone
	waiting                // it is being deleted in the foreground and waits for its dependents
)

// check looks at one object: whether its owners are gone, and whether it waits for dependents that are gone.
func (c *controller) check(ctx context.Context, uid types.UID) error {
	v, ok := c.graph.look(uid)
	if !ok || v.virtual {
		return nil
	}
	if v.foreground {
		return c.finishForeground(ctx, v)
	}
	if v.deleting {
		return nil
	}
	if o, ok := c.cached(v.gvr, v.namespace, v.name); ok && o.GetUID() == uid && c.allCached(o) {
		return nil
	}
	live, err := c.live(ctx, v.ident, v.gvr)
	if err != nil {
		return err
	}
	if live == nil {
		// It is gone, and the cache will say so; if it was never in the cache, nobody else will.
		c.apply(c.graph.drop(uid))
		return nil
	}
	if live.GetDeletionTimestamp() != nil {
		return nil
	}
	return c.judge(ctx, v, live)
}

// allCached says whether the caches show every owner alive.
func (c *controller) allCached(o client.Object) bool {
	for _, r := range o.GetOwnerReferences() {
		res, ok := c.resource(groupKind(r))
		if !ok {
			return false
		}
		ns := ""
		if res.namespaced {
			ns = o.GetNamespace()
		}
		owner, ok := c.cached(res.gvr, ns, r.Name)
		if !ok || owner.GetUID() != r.UID || state(owner) != solid {
			return false
		}
	}
	return true
}

func groupKind(r metav1.OwnerReference) schema.GroupKind {
	gv, err := schema.ParseGroupVersion(r.APIVersion)
	if err != nil {
		return schema.GroupKind{Kind: r.Kind}
	}
	return schema.GroupKind{Group: gv.Group, Kind: r.Kind}
}

func state(owner client.Object) verdict {
	if owner.GetDeletionTimestamp() != nil && slices.Contains(owner.GetFinalizers(), metav1.FinalizerDeleteDependents) {
		return waiting
	}
	return solid
}

// judge acts on the owners of an object as the server has it.
func (c *controller) judge(ctx context.Context, v view, live client.Object) error {
	var keep, wait, gone []metav1.OwnerReference
	for _, r := range live.GetOwnerReferences() {
		x, err := c.owner(ctx, v, r)
		if err != nil {
			return err
		}
		switch x {
		case solid:
			keep = append(keep, r)
		case waiting:
			wait = append(wait, r)
		default:
			gone = append(gone, r)
		}
	}
	switch {
	case len(wait)+len(gone) == 0:
		return nil
	case len(keep) > 0:
		return c.patchOwners(ctx, v.gvr, live, keep)
	case len(wait) > 0 && len(v.dependents) > 0:
		if slices.ContainsFunc(v.dependents, func(d dependent) bool { return d.foreground }) {
			// A circle: a dependent of this object waits for it in turn. Nobody blocks anybody any more.
			if err := c.unblock(ctx, v.gvr, live); err != nil {
				return err
			}
			fresh, err := c.live(ctx, v.ident, v.gvr)
			if err != nil || fresh == nil {
				return err
			}
			live = fresh
		}
		return c.delete(ctx, v, live, metav1.DeletePropagationForeground)
	case slices.Contains(live.GetFinalizers(), metav1.FinalizerOrphanDependents):
		return c.delete(ctx, v, live, metav1.DeletePropagationOrphan)
	case slices.Contains(live.GetFinalizers(), metav1.FinalizerDeleteDependents):
		return c.delete(ctx, v, live, metav1.DeletePropagationForeground)
	}
	return c.delete(ctx, v, live, metav1.DeletePropagationBackground)
}

// owner finds out about one owner of an object.
func (c *controller) owner(ctx context.Context, v view, r metav1.OwnerReference) (verdict, error) {
	res, ok := c.resource(groupKind(r))
	if !ok {
		return solid, fmt.Errorf("owner %s %s of %s %s/%s is of a kind that is not served", r.APIVersion, r.Kind, v.gk, v.namespace, v.name)
	}
	ns := ""
	if res.namespaced {
		if v.namespace == "" {
			// Such an owner can be in any namespace or in none: the object is never collected.
			c.warnNamespace(v.ident, r)
			return solid, nil
		}
		ns = v.namespace
	}
	if o, ok := c.cached(res.gvr, ns, r.Name); ok && o.GetUID() == r.UID {
		return state(o), nil
	}
	if c.absent.has(r.UID) {
		return missing, nil
	}
	o, err := c.client.Get(ctx, res.gvr, ns, r.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		// In another namespace the UID may live; it is only absent from here, which is not to be remembered of the UID.
		return missing, nil
	}
	if err != nil {
		return solid, fmt.Errorf("looking for owner %s %s/%s: %w", r.Kind, ns, r.Name, err)
	}
	if o.GetUID() != r.UID {
		return missing, nil
	}
	return state(o), nil
}

// live reads an object from the server; nil when it is gone or another has its name.
func (c *controller) live(ctx context.Context, id ident, gvr client.GVR) (client.Object, error) {
	o, err := c.client.Get(ctx, gvr, id.namespace, id.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if o.GetUID() != id.uid {
		return nil, nil
	}
	return o, nil
}

func (c *controller) delete(ctx context.Context, v view, live client.Object, how metav1.DeletionPropagation) error {
	uid, version := live.GetUID(), live.GetResourceVersion()
	err := c.client.Delete(ctx, v.gvr, v.namespace, v.name, metav1.DeleteOptions{
		PropagationPolicy: &how,
		Preconditions:     &metav1.Preconditions{UID: &uid, ResourceVersion: &version},
	})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if apierrors.IsConflict(err) {
		c.queue.AddRateLimited(task{uid: v.uid})
		return nil
	}
	if err == nil {
		c.log.Debug("deleted", "resource", v.gvr.Resource, "namespace", v.namespace, "name", v.name, "propagation", how)
	}
	return err
}

// finishForeground lets an owner go when no dependent blocks it any more, and looks at those that do.
func (c *controller) finishForeground(ctx context.Context, v view) error {
	blocked := false
	for _, d := range v.dependents {
		if !d.blocking {
			continue
		}
		blocked = true
		if !d.foreground {
			c.queue.Add(task{uid: d.uid})
		}
	}
	if blocked {
		return nil
	}
	live, err := c.live(ctx, v.ident, v.gvr)
	if err != nil || live == nil {
		return err
	}
	return c.dropFinalizer(ctx, v.gvr, live, metav1.FinalizerDeleteDependents)
}

// orphan takes the reference to an owner from all its dependents and then lets it go.
func (c *controller) orphan(ctx context.Context, uid types.UID) error {
	v, ok := c.graph.look(uid)
	if !ok || !v.orphaning {
		return nil
	}
	for _, d := range v.dependents {
		live, err := c.live(ctx, d.ident, d.gvr)
		if err != nil {
			return err
		}
		if live == nil {
			continue
		}
		keep := slices.DeleteFunc(slices.Clone(live.GetOwnerReferences()), func(r metav1.OwnerReference) bool { return r.UID == uid })
		if len(keep) == len(live.GetOwnerReferences()) {
			continue
		}
		if err := c.patchOwners(ctx, d.gvr, live, keep); err != nil {
			return err
		}
	}
	live, err := c.live(ctx, v.ident, v.gvr)
	if err != nil || live == nil {
		return err
	}
	return c.dropFinalizer(ctx, v.gvr, live, metav1.FinalizerOrphanDependents)
}

func (c *controller) unblock(ctx context.Context, gvr client.GVR, live client.Object) error {
	refs := slices.Clone(live.GetOwnerReferences())
	no := false
	changed := false
	for i := range refs {
		if blocks(refs[i]) {
			refs[i].BlockOwnerDeletion = &no
			changed = true
		}
	}
	if !changed {
		return nil
	}
	return c.patchOwners(ctx, gvr, live, refs)
}

func (c *controller) patchOwners(ctx context.Context, gvr client.GVR, live client.Object, refs []metav1.OwnerReference) error {
	var value any
	if len(refs) > 0 {
		value = refs
	}
	return c.patch(ctx, gvr, live, map[string]any{"ownerReferences": value})
}

func (c *controller) dropFinalizer(ctx context.Context, gvr client.GVR, live client.Object, f string) error {
	if !slices.Contains(live.GetFinalizers(), f) {
		return nil
	}
	keep := slices.DeleteFunc(slices.Clone(live.GetFinalizers()), func(x string) bool { return x == f })
	var value any
	if len(keep) > 0 {
		value = keep
	}
	return c.patch(ctx, gvr, live, map[string]any{"finalizers": value})
}

// patch changes metadata of exactly the version that was read: a conflict comes back as an error and is tried again.
func (c *controller) patch(ctx context.Context, gvr client.GVR, live client.Object, metadata map[string]any) error {
	metadata["uid"], metadata["resourceVersion"] = live.GetUID(), live.GetResourceVersion()
	data, err := json.Marshal(map[string]any{"metadata": metadata})
	if err != nil {
		return err
	}
	_, err = c.client.Patch(ctx, gvr, live.GetNamespace(), live.GetName(), types.MergePatchType, data, metav1.PatchOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
