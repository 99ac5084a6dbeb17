package history

import (
	"context"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"hyperkube/internal/client"
)

// Wanted is a template that there should be a revision of.
type Wanted struct {
	Owner      metav1.Object
	Kind       schema.GroupVersionKind // of the owner
	Template   *corev1.PodTemplateSpec
	Collisions *int32 // as the owner's status counts them
	Label      string // that holds the hash
}

// Ensure finds the revision of a template among all that the owner has, or makes it, as the newest one. old are the others, the oldest
// first. Where another template has the same hash, collided says so: the owner has to count it and come again. There may be no
// revision, without an error, where another look will follow by itself: the cache lacks it, or the namespace is ending.
func Ensure(ctx context.Context, c client.Interface, all []*appsv1.ControllerRevision, w Wanted) (current *appsv1.ControllerRevision, old []*appsv1.ControllerRevision, collided bool, err error) {
	data, err := Data(w.Template)
	if err != nil {
		return nil, nil, false, err
	}
	same, old := Split(all, data)
	number := Next(old)
	if len(same) == 0 {
		current, collided, err = w.create(ctx, c, data, number)
		return current, old, collided, err
	}
	current = same[0]
	if current.Revision < number || current.Labels[w.Label] == "" {
		current = current.DeepCopy()
		current.Revision = max(current.Revision, number)
		if current.Labels[w.Label] == "" {
			metav1.SetMetaDataLabel(&current.ObjectMeta, w.Label, Hash(data, w.Collisions))
		}
		current, err = client.ControllerRevisions.Update(ctx, c, current)
	}
	return current, old, false, err
}

func (w Wanted) create(ctx context.Context, c client.Interface, data []byte, number int64) (rev *appsv1.ControllerRevision, collided bool, err error) {
	next := New(w.Owner, w.Kind, w.Template, data, Hash(data, w.Collisions), number)
	if w.Label != HashLabel {
		next.Labels[w.Label] = next.Labels[HashLabel]
		delete(next.Labels, HashLabel)
	}
	rev, taken, err := Create(ctx, c, next)
	switch {
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return nil, false, nil
	case err != nil || rev != nil:
		return rev, false, err
	case metav1.IsControlledBy(taken, w.Owner) && Holds(taken, data):
		return taken, false, nil // ours, not yet in the cache
	}
	return nil, true, nil
}
