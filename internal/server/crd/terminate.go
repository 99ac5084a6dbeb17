package crd

import (
	"context"
	"fmt"
	"slices"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"hyperkube/internal/client"
)

// terminate deletes the objects of a definition that is being deleted, and then lets it go.
func (d *Definitions) terminate(ctx context.Context, c *apiextensionsv1.CustomResourceDefinition) error {
	if !slices.Contains(c.Finalizers, apiextensionsv1.CustomResourceCleanupFinalizer) {
		return nil
	}
	left, err := d.empty(ctx, c)
	next := c.DeepCopy()
	switch {
	case err != nil:
		set(next, condition(apiextensionsv1.Terminating, apiextensionsv1.ConditionTrue, "InstanceDeletionFailed", fmt.Sprintf("could not delete all instances: %v", err)))
	case left:
		set(next, condition(apiextensionsv1.Terminating, apiextensionsv1.ConditionTrue, "InstanceDeletionInProgress", "CustomResource deletion is in progress"))
	default:
		set(next, condition(apiextensionsv1.Terminating, apiextensionsv1.ConditionFalse, "InstanceDeletionCompleted", "removed all instances"))
	}
	got, uerr := resource.UpdateStatus(ctx, d.cfg.Client, next)
	if err != nil || left || uerr != nil {
		return firstError(err, gone(uerr))
	}
	last := got.DeepCopy()
	last.Finalizers = slices.DeleteFunc(last.Finalizers, func(f string) bool { return f == apiextensionsv1.CustomResourceCleanupFinalizer })
	_, err = resource.Update(ctx, d.cfg.Client, last)
	return gone(err)
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// gone says that somebody else has done it.
func gone(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// empty deletes the objects and says whether some are left, which finalizers keep: the definition is looked at again
// when they change.
func (d *Definitions) empty(ctx context.Context, c *apiextensionsv1.CustomResourceDefinition) (left bool, err error) {
	if !isTrue(c, apiextensionsv1.Established) {
		return false, nil // there never were any
	}
	if err := d.serve(ctx, c); err != nil {
		return false, err
	}
	d.mu.Lock()
	hub := d.rows[c.Name].row.Hub()
	d.mu.Unlock()
	r := hub.GroupVersion.WithResource(c.Status.AcceptedNames.Plural)
	if !hub.Served() {
		i := slices.IndexFunc(c.Spec.Versions, func(v apiextensionsv1.CustomResourceDefinitionVersion) bool { return v.Served })
		if i < 0 {
			return false, nil // nobody can reach them
		}
		r.Version = c.Spec.Versions[i].Name
	}
	background := metav1.DeletePropagationBackground
	if err := d.cfg.Client.DeleteCollection(ctx, r, "", metav1.DeleteOptions{PropagationPolicy: &background}, metav1.ListOptions{}); err != nil {
		return false, err
	}
	l, err := d.cfg.Client.List(ctx, r, "", metav1.ListOptions{})
	if err != nil || len(l.Items) == 0 {
		return false, err
	}
	d.follow(ctx, c.Name, r, l.ResourceVersion)
	return true, nil
}

// follow starts to watch the objects of a definition that goes, if nobody does yet.
func (d *Definitions) follow(ctx context.Context, name string, r client.GVR, version string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.emptying[name] != nil {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	d.emptying[name] = cancel
	go func() {
		err := d.watchDeletions(ctx, name, r, version)
		if ctx.Err() != nil {
			cancel() // the definition is gone, or the server stops
			return
		}
		// Forgotten first: whoever looks at the definition after this must be able to follow its objects anew.
		d.forget(name, cancel)
		if err != nil {
			d.log.Warn("objects of a definition that goes could not be watched", "definition", name, "err", err)
			d.queue.AddRateLimited(name)
			return
		}
		d.queue.Add(name)
	}()
}

// watchDeletions looks at a definition again with each object of it that goes, until the watch ends.
func (d *Definitions) watchDeletions(ctx context.Context, name string, r client.GVR, version string) error {
	w, err := d.cfg.Client.Watch(ctx, r, "", metav1.ListOptions{ResourceVersion: version})
	if err != nil {
		return err
	}
	defer w.Stop()
	for e := range w.ResultChan() {
		if e.Type == watch.Deleted {
			d.queue.Add(name)
		}
	}
	return nil
}

func (d *Definitions) forget(name string, cancel context.CancelFunc) {
	cancel()
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.emptying, name)
}
