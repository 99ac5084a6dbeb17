package registry

import (
	"context"
	"errors"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"hyperkube/internal/object"
	"hyperkube/internal/store"
)

// Write changes an object on behalf of the server itself, where admission has judged the request already: a binding, an
// eviction. Only preconditions and finalizers are looked at.
func (r *Registry) Write(ctx context.Context, t Target, key object.Key, change Change, o UpdateOptions) (Result, error) {
	for {
		var dry object.Object
		e, err := r.Collection(t.Kind).Update(ctx, key, func(cur *store.Entry) (object.Object, error) {
			dry = nil
			if cur == nil {
				return nil, apierrors.NewNotFound(t.Kind.GroupResource(), key.Name)
			}
			if err := o.matches(t, key, cur.Object()); err != nil {
				return nil, err
			}
			obj, err := change(cur)
			if err != nil || obj == cur.Object() {
				return obj, err
			}
			if releasable(t.Kind, obj, cur.Object()) {
				return nil, &lastFinalizer{obj, cur.Revision}
			}
			if o.DryRun {
				dry = obj
				return cur.Object(), nil
			}
			return obj, nil
		})
		var gone *lastFinalizer
		if errors.As(err, &gone) {
			res, err := r.finish(ctx, t.Kind, key, gone, o.DryRun)
			if err == errMoved {
				continue
			}
			return res, err
		}
		if err != nil {
			return Result{}, err
		}
		if dry != nil {
			return Result{Fresh: dry}, nil
		}
		return stored(e), nil
	}
}
