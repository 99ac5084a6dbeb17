package registry

import (
	"context"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"hyperkube/internal/server/request"
	"hyperkube/internal/store"
)

// deleteWorkers is how many objects of a collection are deleted at once.
const deleteWorkers = 16

// DeleteCollection deletes every object that the list selects, each as by Delete. Objects that others removed meanwhile are
// no error. It gives the page that was listed; an error stops it, and the one of the first object in the list is told.
func (r *Registry) DeleteCollection(ctx context.Context, req *request.Request, t Target, l store.ListOptions, o *metav1.DeleteOptions) (*store.Page, error) {
	if ptr.Deref(o.IgnoreStoreReadErrorWithClusterBreakingPotential, false) {
		return nil, apierrors.NewInvalid(schema.GroupKind{Group: metav1.GroupName, Kind: "DeleteOptions"}, "", field.ErrorList{field.Invalid(
			field.NewPath("ignoreStoreReadErrorWithClusterBreakingPotential"), true, "is not allowed with DELETECOLLECTION, try again after removing the option")})
	}
	page, err := r.Collection(t.Kind).List(ctx, l)
	if err != nil {
		return nil, err
	}
	g, failed := errgroup.WithContext(ctx)
	g.SetLimit(deleteWorkers)
	errs, begun := make([]error, len(page.Entries)), 0
	for i, e := range page.Entries {
		if failed.Err() != nil {
			break
		}
		begun++
		g.Go(func() error {
			// Those under way when another fails are not cut off: one before it may have a failure of its own.
			_, errs[i] = r.Delete(ctx, req, t, e.Key(), o.DeepCopy())
			if apierrors.IsNotFound(errs[i]) {
				return nil
			}
			return errs[i]
		})
	}
	_ = g.Wait() // its error is the first in time
	kept := make([]*store.Entry, 0, len(page.Entries))
	for i, err := range errs[:begun] {
		switch {
		case err == nil:
			kept = append(kept, page.Entries[i])
		case !apierrors.IsNotFound(err):
			return nil, err
		}
	}
	if begun < len(page.Entries) {
		return nil, ctx.Err()
	}
	page.Entries = kept
	return page, nil
}
