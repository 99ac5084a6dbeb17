// Package replication keeps as many pods running as each ReplicationController says (core/v1).
//
// Watches: ReplicationControllers, Pods. Writes: Pods, ReplicationController status, events as the
// ReplicaSet's. The work is done by package replicas.
package replication

import (
	"errors"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/utils/ptr"

	"hyperkube/internal/client"
	"hyperkube/internal/controllers"
	"hyperkube/internal/controllers/replicas"
)

// Name is upstream's name of the controller.
const Name = "replicationcontroller-controller"

// New registers the controller. workers is how many ReplicationControllers are worked on at a time.
func New(d controllers.Deps, workers int) controllers.Controller {
	return replicas.New(d, replicas.Kind[*corev1.ReplicationController]{
		Controller: Name,
		Identity:   "replication-controller",
		Component:  "replication-controller",
		Resource:   client.ReplicationControllers,
		GVK:        corev1.SchemeGroupVersion.WithKind("ReplicationController"),
		Spec:       spec,
		Status:     status,
		WithStatus: withStatus,
	}, workers)
}

func spec(rc *corev1.ReplicationController) (replicas.Spec, error) {
	if rc.Spec.Template == nil {
		return replicas.Spec{}, errors.New("spec.template is missing")
	}
	return replicas.Spec{
		Replicas: ptr.Deref(rc.Spec.Replicas, 1),
		Selector: labels.Set(rc.Spec.Selector).AsSelectorPreValidated(),
		Template: rc.Spec.Template,
		MinReady: rc.Spec.MinReadySeconds,
	}, nil
}

func status(rc *corev1.ReplicationController) appsv1.ReplicaSetStatus {
	s := rc.Status
	out := appsv1.ReplicaSetStatus{
		Replicas: s.Replicas, FullyLabeledReplicas: s.FullyLabeledReplicas, ReadyReplicas: s.ReadyReplicas,
		AvailableReplicas: s.AvailableReplicas, ObservedGeneration: s.ObservedGeneration,
	}
	for _, c := range s.Conditions {
		out.Conditions = append(out.Conditions, appsv1.ReplicaSetCondition{
			Type: appsv1.ReplicaSetConditionType(c.Type), Status: c.Status, LastTransitionTime: c.LastTransitionTime,
			Reason: c.Reason, Message: c.Message,
		})
	}
	return out
}

func withStatus(rc *corev1.ReplicationController, s appsv1.ReplicaSetStatus) *corev1.ReplicationController {
	rc = rc.DeepCopy()
	rc.Status = corev1.ReplicationControllerStatus{
		Replicas: s.Replicas, FullyLabeledReplicas: s.FullyLabeledReplicas, ReadyReplicas: s.ReadyReplicas,
		AvailableReplicas: s.AvailableReplicas, ObservedGeneration: s.ObservedGeneration,
	}
	for _, c := range s.Conditions {
		rc.Status.Conditions = append(rc.Status.Conditions, corev1.ReplicationControllerCondition{
			Type: corev1.ReplicationControllerConditionType(c.Type), Status: c.Status, LastTransitionTime: c.LastTransitionTime,
			Reason: c.Reason, Message: c.Message,
		})
	}
	return rc
}
