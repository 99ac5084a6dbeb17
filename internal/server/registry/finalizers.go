package registry

import (
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/object"
)

// releasable says whether an update leaves a deleted object that nothing keeps: no finalizer and no grace period.
func releasable(k *object.Kind, obj, old object.Object) bool {
	if old.GetDeletionTimestamp() == nil || kept(obj) {
		return false
	}
	grace := old.GetDeletionGracePeriodSeconds()
	return grace == nil || *grace == 0
}

// kept says whether finalizers hold the object. Those of a namespace's spec count as well.
func kept(obj object.Object) bool {
	if len(obj.GetFinalizers()) > 0 {
		return true
	}
	ns, ok := obj.(*corev1.Namespace)
	return ok && len(ns.Spec.Finalizers) > 0
}

// dependentsFinalizers are the finalizers of an object that is being deleted with these options: the garbage collector's
// orphan and foregroundDeletion are added or taken away as asked for.
func dependentsFinalizers(k *object.Kind, obj object.Object, o *metav1.DeleteOptions) []string {
	have := obj.GetFinalizers()
	if k.Resource == "events" && k.Hub().Group == "" {
		return have
	}
	out := make([]string, 0, len(have)+1)
	for _, f := range have {
		if f != metav1.FinalizerOrphanDependents && f != metav1.FinalizerDeleteDependents {
			out = append(out, f)
		}
	}
	if orphans(obj, o) {
		out = append(out, metav1.FinalizerOrphanDependents)
	}
	if foreground(obj, o) {
		out = append(out, metav1.FinalizerDeleteDependents)
	}
	return out
}

func orphans(obj object.Object, o *metav1.DeleteOptions) bool {
	switch {
	case o.OrphanDependents != nil:
		return *o.OrphanDependents
	case o.PropagationPolicy != nil:
		return *o.PropagationPolicy == metav1.DeletePropagationOrphan
	case slices.Contains(obj.GetFinalizers(), metav1.FinalizerOrphanDependents):
		return true
	case slices.Contains(obj.GetFinalizers(), metav1.FinalizerDeleteDependents):
		return false
	}
	return orphansByDefault(obj)
}

func foreground(obj object.Object, o *metav1.DeleteOptions) bool {
	switch {
	case o.OrphanDependents != nil:
		return false
	case o.PropagationPolicy != nil:
		return *o.PropagationPolicy == metav1.DeletePropagationForeground
	}
	return slices.Contains(obj.GetFinalizers(), metav1.FinalizerDeleteDependents)
}

// orphansByDefault: the two oldest controllers keep their pods unless told otherwise.
func orphansByDefault(obj object.Object) bool {
	switch obj.(type) {
	case *batchv1.Job, *corev1.ReplicationController:
		return true
	}
	return false
}

const jobWarning = "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning"
