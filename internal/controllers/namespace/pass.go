package namespace

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"hyperkube/internal/client"
)

// pass is one attempt to delete all that is in a namespace, and what it found.
type pass struct {
	c         client.Interface
	namespace string

	discovery error
	failures  []error
	remaining map[schema.GroupVersionResource]int
	finalizer map[string]int // objects that wait for a finalizer
}

func (p *pass) run(ctx context.Context) {
	p.remaining = map[schema.GroupVersionResource]int{}
	p.finalizer = map[string]int{}
	all, err := p.c.Resources(ctx)
	p.discovery = err // some groups may be unknown and the rest known: what is known goes
	pods, rest := deletable(all)
	for _, r := range pods {
		p.empty(ctx, r)
	}
	if p.left() > 0 || len(p.failures) > 0 {
		return
	}
	for _, r := range rest {
		p.empty(ctx, r)
		if ctx.Err() != nil {
			return
		}
	}
}

// resource is a kind of object to delete.
type resource struct {
	gvr        schema.GroupVersionResource
	collection bool // serves deletecollection
}

// deletable picks the resources that live in namespaces and can be listed and deleted. One that two
// groups serve (events) is taken once.
func deletable(all []metav1.APIResource) (pods, rest []resource) {
	for _, a := range all {
		if !a.Namespaced || !slices.Contains(a.Verbs, "list") || !slices.Contains(a.Verbs, "delete") {
			continue
		}
		r := resource{
			gvr:        schema.GroupVersionResource{Group: a.Group, Version: a.Version, Resource: a.Name},
			collection: slices.Contains(a.Verbs, "deletecollection"),
		}
		switch {
		case r.gvr.Group == "events.k8s.io" && a.Name == "events":
		case r.gvr == client.Pods.GVR:
			pods = append(pods, r)
		default:
			rest = append(rest, r)
		}
	}
	slices.SortFunc(rest, func(a, b resource) int {
		return cmp.Or(cmp.Compare(a.gvr.Group, b.gvr.Group), cmp.Compare(a.gvr.Resource, b.gvr.Resource))
	})
	return pods, rest
}

// empty deletes all objects of one resource and counts those that are still there afterwards.
func (p *pass) empty(ctx context.Context, r resource) {
	items, err := p.list(ctx, r)
	if err != nil || len(items) == 0 {
		p.fail(r, err)
		return
	}
	// What is being deleted already needs time, not another request.
	if slices.ContainsFunc(items, func(o client.Object) bool { return o.GetDeletionTimestamp() == nil }) {
		if err := p.remove(ctx, r, items); err != nil {
			p.fail(r, err)
			return
		}
	}
	if items, err = p.list(ctx, r); err != nil {
		p.fail(r, err)
		return
	}
	if len(items) == 0 {
		return
	}
	p.remaining[r.gvr] = len(items)
	for _, o := range items {
		for _, f := range o.GetFinalizers() {
			p.finalizer[f]++
		}
	}
}

func (p *pass) list(ctx context.Context, r resource) ([]client.Object, error) {
	var out []client.Object
	o := metav1.ListOptions{}
	for {
		l, err := p.c.List(ctx, r.gvr, p.namespace, o)
		if err != nil {
			return nil, err
		}
		out = append(out, l.Items...)
		if l.Continue == "" {
			return out, nil
		}
		o.Continue = l.Continue
	}
}

func (p *pass) remove(ctx context.Context, r resource, items []client.Object) error {
	background := metav1.DeletePropagationBackground
	opts := metav1.DeleteOptions{PropagationPolicy: &background}
	if r.collection {
		err := p.c.DeleteCollection(ctx, r.gvr, p.namespace, opts, metav1.ListOptions{})
		if !apierrors.IsMethodNotSupported(err) {
			return err
		}
	}
	for _, o := range items {
		if err := p.c.Delete(ctx, r.gvr, p.namespace, o.GetName(), opts); err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return nil
}

func (p *pass) fail(r resource, err error) {
	// A resource that is no longer served holds nothing.
	if err == nil || apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) {
		return
	}
	p.failures = append(p.failures, fmt.Errorf("deleting %s: %w", r.gvr.GroupResource(), err))
}

func (p *pass) left() (n int) {
	for _, k := range p.remaining {
		n += k
	}
	return n
}

func (p *pass) err() error { return errors.Join(append([]error{p.discovery}, p.failures...)...) }
