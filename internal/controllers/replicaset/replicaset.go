// Package replicaset keeps as many pods running as each ReplicaSet says (apps/v1).
//
// Watches: ReplicaSets, Pods. Writes: Pods, ReplicaSet status, events "SuccessfulCreate", "FailedCreate",
// "SuccessfulDelete", "FailedDelete". The work is done by package replicas.
package replicaset

import (
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"hyperkube/internal/client"
	"hyperkube/internal/controllers"
	"hyperkube/internal/controllers/replicas"
)

// Name is upstream's name of the controller.
const Name = "replicaset-controller"

// New registers the controller. workers is how many ReplicaSets are worked on at a time.
func New(d controllers.Deps, workers int) controllers.Controller {
	return replicas.New(d, replicas.Kind[*appsv1.ReplicaSet]{
		Controller: Name,
		Identity:   "replicaset-controller",
		Component:  "replicaset-controller",
		Resource:   client.ReplicaSets,
		GVK:        appsv1.SchemeGroupVersion.WithKind("ReplicaSet"),
		Spec:       spec,
		Status:     func(rs *appsv1.ReplicaSet) appsv1.ReplicaSetStatus { return rs.Status },
		WithStatus: func(rs *appsv1.ReplicaSet, s appsv1.ReplicaSetStatus) *appsv1.ReplicaSet {
			rs = rs.DeepCopy()
			rs.Status = s
			return rs
		},
		CountsTerminating: true,
	}, workers)
}

func spec(rs *appsv1.ReplicaSet) (replicas.Spec, error) {
	sel, err := metav1.LabelSelectorAsSelector(rs.Spec.Selector)
	if err != nil {
		return replicas.Spec{}, fmt.Errorf("spec.selector: %w", err)
	}
	return replicas.Spec{
		Replicas: ptr.Deref(rs.Spec.Replicas, 1),
		Selector: sel,
		Template: &rs.Spec.Template,
		MinReady: rs.Spec.MinReadySeconds,
	}, nil
}
