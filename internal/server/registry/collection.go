package registry

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/server/request"
	"hyperkube/internal/store"
)

// deleteWorkers is how many objects of a collection are deleted at once.
const deleteWorkers = 16

// DeleteCollection deletes every object that the list selects, each as by Delete. Objects that others removed meanwhile are
// no error. It gives the page that was listed; the first error stops it.
func (r *Registry) DeleteCollection(ctx context.Context, req *request.Request, t Target, l store.ListOptions, o *metav1.DeleteOptions) (*store.Page, error) {
	page, err := r.Collection(t.Kind).List(ctx, l)
	if err != nil {
		return nil, err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(deleteWorkers)
	var mu sync.Mutex
	gone := map[*store.Entry]bool{}
	for _, e := range page.Entries {
		g.Go(func() error {
			key := e.Key()
			_, err := r.Delete(ctx, req, t, key, o.DeepCopy())
			if apierrors.IsNotFound(err) {
				mu.Lock()
				gone[e] = true
				mu.Unlock()
				return nil
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	kept := make([]*store.Entry, 0, len(page.Entries))
	for _, e := range page.Entries {
		if !gone[e] {
			kept = append(kept, e)
		}
	}
	page.Entries = kept
	return page, nil
}
