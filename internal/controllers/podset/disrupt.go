package podset

import (
	"context"
	"encoding/json"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"hyperkube/internal/client"
)

// MarkDisrupted says in a pod's status that it is about to be ended, and why (the condition DisruptionTarget, KEP-3329), unless
// it says so already; failed also sets its phase to Failed. It patches just that, so that a kubelet's write at the same
// time does not stand in the way.
func MarkDisrupted(ctx context.Context, c client.Interface, pod *corev1.Pod, reason, message string, failed bool) error {
	status := map[string]any{}
	if failed && pod.Status.Phase != corev1.PodFailed {
		status["phase"] = corev1.PodFailed
	}
	if reason != "" {
		next := pod.DeepCopy()
		cond := corev1.PodCondition{
			Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: reason, Message: message, ObservedGeneration: pod.Generation,
		}
		if SetCondition(next, cond, time.Now()) {
			status["conditions"] = []corev1.PodCondition{*Condition(next, corev1.DisruptionTarget)}
		}
	}
	if len(status) == 0 {
		return nil
	}
	data, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": pod.UID}, "status": status})
	if err != nil {
		return err
	}
	_, err = c.Patch(ctx, client.Pods.GVR, pod.Namespace, pod.Name, types.StrategicMergePatchType, data, metav1.PatchOptions{}, "status")
	return err
}
