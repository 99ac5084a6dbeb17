package status

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/node/spec"
)

// conditions sets those that the kubelet owns; those of others (readiness gates, DisruptionTarget) stay as the server has
// them. PodScheduled is the scheduler's; of pods that no scheduler placed it is ours.
func (g *generator) conditions(s *corev1.PodStatus) {
	done := s.Phase == corev1.PodSucceeded
	s.Conditions = slices.DeleteFunc(s.Conditions, func(c corev1.PodCondition) bool { return !g.ours(c.Type) })
	for _, c := range g.Resize {
		generation := c.ObservedGeneration
		g.set(s, c)
		condition(s, c.Type).ObservedGeneration = generation
	}
	if g.Disrupted {
		g.set(s, corev1.PodCondition{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: corev1.PodReasonTerminationByKubelet, Message: g.Text})
	}
	g.set(s, g.sandboxCondition())
	g.set(s, g.initialized(s, done))
	ready := g.containersReady(s)
	g.set(s, g.ready(s, ready))
	g.set(s, ready)
	if have := condition(&g.Pod.Status, corev1.PodScheduled); have != nil && have.Status == corev1.ConditionTrue {
		s.Conditions = slices.DeleteFunc(s.Conditions, func(c corev1.PodCondition) bool { return c.Type == corev1.PodScheduled })
	} else {
		g.set(s, corev1.PodCondition{Type: corev1.PodScheduled, Status: corev1.ConditionTrue})
	}
}

// ours says whether the kubelet writes a condition. Those of others are not even repeated, lest a later change of
// theirs be undone.
func (g *generator) ours(t corev1.PodConditionType) bool {
	switch t {
	case corev1.PodReadyToStartContainers, corev1.PodInitialized, corev1.ContainersReady, corev1.PodReady, corev1.PodScheduled:
		return true
	case corev1.DisruptionTarget:
		return g.Disrupted
	case corev1.PodResizePending, corev1.PodResizeInProgress:
		return slices.ContainsFunc(g.Resize, func(c corev1.PodCondition) bool { return c.Type == t })
	}
	return false
}

func (g *generator) sandboxCondition() corev1.PodCondition {
	c := corev1.PodCondition{Type: corev1.PodReadyToStartContainers, Status: corev1.ConditionFalse}
	if s := g.Seen.ReadySandbox(); s != nil && (g.Pod.Spec.HostNetwork || s.GetNetwork().GetIp() != "") {
		c.Status = corev1.ConditionTrue
	}
	return c
}

func (g *generator) initialized(s *corev1.PodStatus, done bool) corev1.PodCondition {
	c := corev1.PodCondition{Type: corev1.PodInitialized, Status: corev1.ConditionTrue}
	if done {
		c.Reason = "PodCompleted"
		return c
	}
	var unknown, open []string
	for i := range g.Pod.Spec.InitContainers {
		ic := &g.Pod.Spec.InitContainers[i]
		st := find(s.InitContainerStatuses, ic.Name)
		switch {
		case st == nil:
			unknown = append(unknown, ic.Name)
		case spec.Restartable(ic):
			if st.Started == nil || !*st.Started {
				open = append(open, ic.Name)
			}
		case !st.Ready:
			open = append(open, ic.Name)
		}
	}
	// Once containers have been made the init containers have been through, even when a sidecar restarts.
	for i := range s.ContainerStatuses {
		if s.ContainerStatuses[i].ContainerID != "" && g.Seen.ReadySandbox() != nil && g.Seen.Newest(s.ContainerStatuses[i].Name) != nil &&
			g.Seen.Newest(s.ContainerStatuses[i].Name).SandboxID == g.Seen.ReadySandbox().Id {
			return c
		}
	}
	if text := both("containers with unknown status", unknown, "containers with incomplete status", open); text != "" {
		c.Status, c.Reason, c.Message = corev1.ConditionFalse, "ContainersNotInitialized", text
	}
	return c
}

func (g *generator) containersReady(s *corev1.PodStatus) corev1.PodCondition {
	c := corev1.PodCondition{Type: corev1.ContainersReady, Status: corev1.ConditionFalse}
	switch s.Phase {
	case corev1.PodSucceeded:
		c.Reason = "PodCompleted"
		return c
	case corev1.PodFailed:
		c.Reason = "PodFailed"
		return c
	}
	var unknown, unready []string
	check := func(name string, list []corev1.ContainerStatus) {
		if st := find(list, name); st == nil {
			unknown = append(unknown, name)
		} else if !st.Ready {
			unready = append(unready, name)
		}
	}
	for i := range g.Pod.Spec.InitContainers {
		if spec.Restartable(&g.Pod.Spec.InitContainers[i]) {
			check(g.Pod.Spec.InitContainers[i].Name, s.InitContainerStatuses)
		}
	}
	for i := range g.Pod.Spec.Containers {
		check(g.Pod.Spec.Containers[i].Name, s.ContainerStatuses)
	}
	if text := both("containers with unknown status", unknown, "containers with unready status", unready); text != "" {
		c.Reason, c.Message = "ContainersNotReady", text
		return c
	}
	c.Status = corev1.ConditionTrue
	return c
}

func (g *generator) ready(s *corev1.PodStatus, containers corev1.PodCondition) corev1.PodCondition {
	c := containers
	c.Type = corev1.PodReady
	if c.Status != corev1.ConditionTrue {
		return c
	}
	var open []string
	for _, gate := range g.Pod.Spec.ReadinessGates {
		switch have := condition(&g.Pod.Status, gate.ConditionType); {
		case have == nil:
			open = append(open, fmt.Sprintf("corresponding condition of pod readiness gate %q does not exist.", gate.ConditionType))
		case have.Status != corev1.ConditionTrue:
			open = append(open, fmt.Sprintf("the status of pod readiness gate %q is not \"True\", but %v", gate.ConditionType, have.Status))
		}
	}
	if len(open) > 0 {
		c.Status, c.Reason, c.Message = corev1.ConditionFalse, "ReadinessGatesNotReady", strings.Join(open, ", ")
	}
	return c
}

func both(a string, as []string, b string, bs []string) string {
	var out []string
	if len(as) > 0 {
		out = append(out, fmt.Sprintf("%s: %s", a, as))
	}
	if len(bs) > 0 {
		out = append(out, fmt.Sprintf("%s: %s", b, bs))
	}
	return strings.Join(out, ", ")
}

func condition(s *corev1.PodStatus, t corev1.PodConditionType) *corev1.PodCondition {
	for i := range s.Conditions {
		if s.Conditions[i].Type == t {
			return &s.Conditions[i]
		}
	}
	return nil
}

// set a condition; the time of transition changes only with the status.
func (g *generator) set(s *corev1.PodStatus, c corev1.PodCondition) {
	c.ObservedGeneration = g.Pod.Generation
	c.LastTransitionTime = metav1.NewTime(g.Now)
	if old := condition(s, c.Type); old != nil {
		if old.Status == c.Status {
			c.LastTransitionTime = old.LastTransitionTime
		}
		c.LastProbeTime = old.LastProbeTime
		*old = c
		return
	}
	s.Conditions = append(s.Conditions, c)
}
