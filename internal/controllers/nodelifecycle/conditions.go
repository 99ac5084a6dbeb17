package nodelifecycle

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/client"
	"hyperkube/internal/controllers/podset"
)

func condition(n *corev1.Node, t corev1.NodeConditionType) *corev1.NodeCondition {
	for i := range n.Status.Conditions {
		if n.Status.Conditions[i].Type == t {
			return &n.Status.Conditions[i]
		}
	}
	return nil
}

// readiness is the status of Ready; "" for a node that never reported.
func readiness(n *corev1.Node) corev1.ConditionStatus {
	if c := condition(n, corev1.NodeReady); c != nil {
		return c.Status
	}
	return ""
}

func heartbeat(n *corev1.Node) *metav1.Time {
	if c := condition(n, corev1.NodeReady); c != nil {
		return &c.LastHeartbeatTime
	}
	return nil
}

// reported are the conditions that a kubelet keeps, and that nobody knows when it is silent.
var reported = []corev1.NodeConditionType{corev1.NodeReady, corev1.NodeMemoryPressure, corev1.NodeDiskPressure, corev1.NodePIDPressure}

// judge makes the conditions of a silent node Unknown, or sets the timer for when it will be one. It returns the node as it
// is then.
func (c *controller) judge(ctx context.Context, node *corev1.Node) (*corev1.Node, error) {
	c.mu.Lock()
	h := c.health[node.Name]
	if h == nil {
		h = &health{seen: time.Now()}
		c.health[node.Name] = h
	}
	seen := h.seen
	c.mu.Unlock()
	grace := c.options.MonitorGracePeriod
	if readiness(node) == "" {
		grace = c.options.StartupGracePeriod
		if node.CreationTimestamp.After(seen) {
			seen = node.CreationTimestamp.Time
		}
	}
	now := time.Now()
	if left := seen.Add(grace).Sub(now); left > 0 {
		c.queue.AddAfter(node.Name, left)
		return node, nil
	}
	next := node.DeepCopy()
	if !silence(next, metav1.NewTime(now)) {
		return node, nil
	}
	got, err := client.Nodes.UpdateStatus(ctx, c.client, next)
	if err != nil {
		return nil, err
	}
	c.log.Info("node is silent", "node", node.Name, "last_sign", seen)
	if readiness(node) == corev1.ConditionTrue {
		c.events.Eventf(reference(node), corev1.EventTypeNormal, "NodeNotReady", "Node %s status is now: NodeNotReady", node.Name)
	}
	return got, nil
}

// silence sets the reported conditions to Unknown and says whether that changed any.
func silence(n *corev1.Node, now metav1.Time) (changed bool) {
	for _, t := range reported {
		cur := condition(n, t)
		switch {
		case cur == nil:
			n.Status.Conditions = append(n.Status.Conditions, corev1.NodeCondition{
				Type: t, Status: corev1.ConditionUnknown, Reason: "NodeStatusNeverUpdated",
				Message: "Kubelet never posted node status.", LastHeartbeatTime: n.CreationTimestamp, LastTransitionTime: now,
			})
			changed = true
		case cur.Status != corev1.ConditionUnknown:
			cur.Status, cur.Reason, cur.Message, cur.LastTransitionTime = corev1.ConditionUnknown, "NodeStatusUnknown", "Kubelet stopped posting node status.", now
			changed = true
		}
	}
	return changed
}

// conditionTaints keep new pods away from a node that is not well.
func conditionTaints(n *corev1.Node) []corev1.Taint {
	var out []corev1.Taint
	add := func(key string) { out = append(out, corev1.Taint{Key: key, Effect: corev1.TaintEffectNoSchedule}) }
	for _, c := range n.Status.Conditions {
		switch {
		case c.Type == corev1.NodeReady && c.Status == corev1.ConditionFalse:
			add(corev1.TaintNodeNotReady)
		case c.Type == corev1.NodeReady && c.Status == corev1.ConditionUnknown:
			add(corev1.TaintNodeUnreachable)
		case c.Status != corev1.ConditionTrue:
		case c.Type == corev1.NodeMemoryPressure:
			add(corev1.TaintNodeMemoryPressure)
		case c.Type == corev1.NodeDiskPressure:
			add(corev1.TaintNodeDiskPressure)
		case c.Type == corev1.NodePIDPressure:
			add(corev1.TaintNodePIDPressure)
		case c.Type == corev1.NodeNetworkUnavailable:
			add(corev1.TaintNodeNetworkUnavailable)
		}
	}
	// A node that has not reported yet keeps the taint that it was admitted with.
	if readiness(n) == "" {
		for _, t := range n.Spec.Taints {
			if t.Key == corev1.TaintNodeNotReady && t.Effect == corev1.TaintEffectNoSchedule {
				add(corev1.TaintNodeNotReady)
			}
		}
	}
	if n.Spec.Unschedulable {
		add(corev1.TaintNodeUnschedulable)
	}
	return out
}

// evictingTaint drives pods from a node that is not ready.
func evictingTaint(n *corev1.Node) (corev1.Taint, bool) {
	switch readiness(n) {
	case corev1.ConditionFalse:
		return corev1.Taint{Key: corev1.TaintNodeNotReady, Effect: corev1.TaintEffectNoExecute}, true
	case corev1.ConditionUnknown:
		return corev1.Taint{Key: corev1.TaintNodeUnreachable, Effect: corev1.TaintEffectNoExecute}, true
	}
	return corev1.Taint{}, false
}

// managed are the taints that are this controller's to give and take.
func managed(t *corev1.Taint) bool {
	switch t.Key {
	case corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable:
		return t.Effect == corev1.TaintEffectNoSchedule || t.Effect == corev1.TaintEffectNoExecute
	case corev1.TaintNodeMemoryPressure, corev1.TaintNodeDiskPressure, corev1.TaintNodePIDPressure,
		corev1.TaintNodeNetworkUnavailable, corev1.TaintNodeUnschedulable:
		return t.Effect == corev1.TaintEffectNoSchedule
	}
	return false
}

// markPods makes the pods of a node that is not ready count as not ready, once for each time that the node
// ceases to be ready: its kubelet may not be able to say so.
func (c *controller) markPods(ctx context.Context, node *corev1.Node) error {
	ready := condition(node, corev1.NodeReady)
	if ready == nil || ready.Status == corev1.ConditionTrue {
		return nil
	}
	c.mu.Lock()
	h := c.health[node.Name]
	done := h == nil || h.marked.Equal(ready.LastTransitionTime.Time)
	c.mu.Unlock()
	if done {
		return nil
	}
	for _, p := range podset.OnNode(c.pods, node.Name) {
		if err := c.markPod(ctx, p); err != nil && quiet(err) != nil {
			return err
		}
	}
	c.mu.Lock()
	h.marked = ready.LastTransitionTime.Time
	c.mu.Unlock()
	return nil
}

func (c *controller) markPod(ctx context.Context, p *corev1.Pod) error {
	if !podset.IsReady(p) {
		return nil
	}
	next := p.DeepCopy()
	cond := podset.Condition(next, corev1.PodReady)
	cond.Status, cond.LastTransitionTime = corev1.ConditionFalse, metav1.Now()
	if _, err := client.Pods.UpdateStatus(ctx, c.client, next); err != nil {
		return err
	}
	c.events.Event(p, corev1.EventTypeWarning, "NodeNotReady", "Node is not ready")
	return nil
}
