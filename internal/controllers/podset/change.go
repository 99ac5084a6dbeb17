package podset

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"hyperkube/internal/client"
)

// Matters says whether a change of a pod can change what its owner does or reports: who owns it, its
// labels, whether it has ended, is being deleted or is ready, and where it runs. Most writes of a kubelet are none of these.
func Matters(old, new *corev1.Pod) bool {
	return old.UID != new.UID ||
		old.Status.Phase != new.Status.Phase ||
		(old.DeletionTimestamp == nil) != (new.DeletionTimestamp == nil) ||
		old.Spec.NodeName != new.Spec.NodeName ||
		!maps.Equal(old.Labels, new.Labels) ||
		!apiequality.Semantic.DeepEqual(Condition(old, corev1.PodReady), Condition(new, corev1.PodReady)) ||
		!apiequality.Semantic.DeepEqual(old.OwnerReferences, new.OwnerReferences)
}

// Watcher tells what changes of pods mean for the owners of one kind. All functions must be set and must not block.
type Watcher struct {
	Kind string // of owners, as in a controller reference
	// Enqueue asks for a look at the owner of a pod; it is called for references of Kind alone.
	Enqueue func(namespace string, ref *metav1.OwnerReference)
	// Orphan is told of a pod without a controller that is new or has changed its labels.
	Orphan func(pod *corev1.Pod)
	// Created and Deleted tell of the echo of a creation or deletion. A pod with a deletion time counts as deleted.
	Created func(namespace string, ref *metav1.OwnerReference)
	Deleted func(namespace string, ref *metav1.OwnerReference, uid types.UID)
}

// Watch makes w hear of all pods.
func (w Watcher) Watch(pods *client.Informer[*corev1.Pod]) { pods.OnChange(w.change) }

func (w Watcher) change(old, new *corev1.Pod) {
	switch {
	case new == nil:
		w.gone(old)
	case old == nil || old.UID != new.UID:
		if old != nil {
			w.gone(old)
		}
		w.added(new)
	case Matters(old, new):
		w.changed(old, new)
	}
}

func (w Watcher) ref(p *corev1.Pod) *metav1.OwnerReference {
	ref := metav1.GetControllerOfNoCopy(p)
	if ref == nil || ref.Kind != w.Kind {
		return nil
	}
	return ref
}

func (w Watcher) gone(p *corev1.Pod) {
	if ref := w.ref(p); ref != nil {
		w.Deleted(p.Namespace, ref, p.UID)
		w.Enqueue(p.Namespace, ref)
	}
}

func (w Watcher) added(p *corev1.Pod) {
	if p.DeletionTimestamp != nil {
		w.gone(p)
		return
	}
	if ref := w.ref(p); ref != nil {
		w.Created(p.Namespace, ref)
		w.Enqueue(p.Namespace, ref)
		return
	}
	if metav1.GetControllerOfNoCopy(p) == nil {
		w.Orphan(p)
	}
}

func (w Watcher) changed(old, new *corev1.Pod) {
	was, is := w.ref(old), w.ref(new)
	if was != nil && (is == nil || is.UID != was.UID) {
		w.Enqueue(old.Namespace, was)
	}
	if is != nil {
		if new.DeletionTimestamp != nil {
			w.Deleted(new.Namespace, is, new.UID)
		}
		w.Enqueue(new.Namespace, is)
		return
	}
	if metav1.GetControllerOfNoCopy(new) == nil && (was != nil || !maps.Equal(old.Labels, new.Labels)) {
		w.Orphan(new)
	}
}
