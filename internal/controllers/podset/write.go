package podset

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/record"

	"hyperkube/internal/client"
)

// SlowStart calls do n times: once, and after each batch without a failure a batch twice as large, all calls of one batch at
// once, at most MaxBatch of them. So that a failure that would meet all of them (no quota) costs one request, not n.
// It returns how many succeeded and the first error.
func SlowStart(n int, do func(i int) error) (done int, err error) {
	for batch := min(n, 1); batch > 0; batch = min(2*batch, n-done, MaxBatch) {
		ok, err := Together(batch, func(i int) error { return do(done + i) })
		done += ok
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// MaxBatch bounds how many requests one owner has in flight.
const MaxBatch = 128

// Together calls do for 0…n-1 at once, waits for all, and returns how many succeeded and the first error.
func Together(n int, do func(i int) error) (done int, err error) {
	if n == 1 {
		if err := do(0); err != nil {
			return 0, err
		}
		return 1, nil
	}
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					errs[i] = fmt.Errorf("panic: %v", p)
				}
			}()
			errs[i] = do(i)
		})
	}
	wg.Wait()
	for _, e := range errs {
		if e == nil {
			done++
		} else if err == nil {
			err = e
		}
	}
	return done, err
}

// Writer creates and deletes pods for owners of one kind, and tells of it in events on the owner.
type Writer struct {
	Client   client.Interface
	Recorder record.EventRecorder
	Kind     schema.GroupVersionKind // of the owners
}

// ErrNamespaceEnding is what Create returns when the namespace is being deleted: nothing to try again.
var ErrNamespaceEnding = errors.New("the namespace is being deleted")

// FromTemplate makes the pod that an owner's template describes. The server names it.
func FromTemplate(owner metav1.Object, kind schema.GroupVersionKind, t *corev1.PodTemplateSpec) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:       owner.GetNamespace(),
			GenerateName:    namePrefix(owner.GetName()),
			Labels:          maps.Clone(t.Labels),
			Annotations:     maps.Clone(t.Annotations),
			Finalizers:      slices.Clone(t.Finalizers),
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(owner, kind)},
		},
		Spec: *t.Spec.DeepCopy(),
	}
}

// namePrefix is the owner's name and a dash; names that would then be no valid prefix go without the dash.
func namePrefix(owner string) string {
	if p := owner + "-"; len(validation.NameIsDNSSubdomain(p, true)) == 0 {
		return p
	}
	return owner
}

// Create writes a pod for owner.
func (w *Writer) Create(ctx context.Context, owner client.Object, pod *corev1.Pod) error {
	got, err := client.Pods.Create(ctx, w.Client, pod)
	if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return fmt.Errorf("%w: %s", ErrNamespaceEnding, pod.Namespace)
	}
	if err != nil {
		w.Recorder.Eventf(owner, corev1.EventTypeWarning, "FailedCreate", "Error creating: %v", err)
		return err
	}
	w.Recorder.Eventf(owner, corev1.EventTypeNormal, "SuccessfulCreate", "Created pod: %v", got.Name)
	return nil
}

// Delete removes exactly this pod of owner. A pod that is gone already gives the server's NotFound.
func (w *Writer) Delete(ctx context.Context, owner client.Object, pod *corev1.Pod) error {
	err := w.Client.Delete(ctx, client.Pods.GVR, pod.Namespace, pod.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(pod.UID))})
	if apierrors.IsNotFound(err) {
		return err
	}
	if err != nil {
		w.Recorder.Eventf(owner, corev1.EventTypeWarning, "FailedDelete", "Error deleting: %v", err)
		return fmt.Errorf("unable to delete pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	w.Recorder.Eventf(owner, corev1.EventTypeNormal, "SuccessfulDelete", "Deleted pod: %v", pod.Name)
	return nil
}
