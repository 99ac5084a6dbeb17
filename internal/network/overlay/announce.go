package overlay

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"hyperkube/internal/client"
)

// announce says on the Node how to reach it, and that its network is up, unless the Node says so already.
func (o *Overlay) announce(ctx context.Context, k *kernel) error {
	want, err := annotations(o.cfg.AnnotationPrefix, k.self)
	if err != nil {
		return err
	}
	n, ok := o.nodes.Get("", o.cfg.NodeName)
	if !ok {
		return nil
	}
	said := hasAll(n.Annotations, want)
	up := o.cfg.KeepCondition || networkUp(n)
	if said && up {
		return nil
	}
	patch := map[string]any{}
	if !said {
		patch["metadata"] = map[string]any{"annotations": want}
	}
	if !up {
		now := metav1.Now()
		patch["status"] = map[string]any{"conditions": []corev1.NodeCondition{{
			Type: corev1.NodeNetworkUnavailable, Status: corev1.ConditionFalse, Reason: "FlannelIsUp",
			Message: "Flannel is running on this node", LastHeartbeatTime: now, LastTransitionTime: now,
		}}}
	}
	data, err := json.Marshal(patch)
	if err != nil {
		return err
	}
	// The status subresource takes both, and is all that flannel's usual role may write.
	got, err := o.c.Patch(ctx, client.Nodes.GVR, "", o.cfg.NodeName, types.StrategicMergePatchType, data, metav1.PatchOptions{}, "status")
	if err != nil {
		return fmt.Errorf("announce node %s: %w", o.cfg.NodeName, err)
	}
	if !hasAll(got.GetAnnotations(), want) {
		return fmt.Errorf("announce node %s: the server did not store the annotations", o.cfg.NodeName)
	}
	return nil
}

func hasAll(have, want map[string]string) bool {
	for k, v := range want {
		if have[k] != v {
			return false
		}
	}
	return true
}

func networkUp(n *corev1.Node) bool {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeNetworkUnavailable {
			return c.Status == corev1.ConditionFalse
		}
	}
	return false
}
