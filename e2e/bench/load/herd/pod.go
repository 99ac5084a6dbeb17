package herd

import (
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/e2e/bench/load"
)

// owed says whether a pod's status is still to be written: it is to run and is not as Ready as it can be.
func owed(p *corev1.Pod) bool {
	switch p.Status.Phase {
	case corev1.PodSucceeded, corev1.PodFailed:
		return false
	case corev1.PodRunning:
		return !load.PodReady(p) && gatesOpen(p)
	}
	return true
}

// gatesOpen says whether others have set all conditions for which the pod's readiness waits.
func gatesOpen(p *corev1.Pod) bool {
	for _, g := range p.Spec.ReadinessGates {
		if !has(p, g.ConditionType) {
			return false
		}
	}
	return true
}

func has(p *corev1.Pod, t corev1.PodConditionType) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == t {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// running is the strategic merge patch by which a kubelet says that all containers of a pod run.
func running(p *corev1.Pod, host, ip netip.Addr, now time.Time) []byte {
	if p.Spec.HostNetwork {
		ip = host
	}
	at := metav1.NewTime(now)
	s := map[string]any{
		"phase": corev1.PodRunning, "startTime": at, "observedGeneration": p.Generation,
		"hostIP": host.String(), "hostIPs": []corev1.HostIP{{IP: host.String()}},
		"podIP": ip.String(), "podIPs": []corev1.PodIP{{IP: ip.String()}},
		"conditions": podConditions(p, at), "containerStatuses": containers(p, p.Spec.Containers, at),
	}
	if p.Status.StartTime != nil {
		s["startTime"] = p.Status.StartTime
	}
	if init := initContainers(p, at); len(init) > 0 {
		s["initContainerStatuses"] = init
	}
	return mustJSON(map[string]any{"metadata": map[string]any{"uid": p.UID}, "status": s})
}

func podConditions(p *corev1.Pod, at metav1.Time) []corev1.PodCondition {
	var all []corev1.PodCondition
	for _, t := range []corev1.PodConditionType{
		corev1.PodScheduled, corev1.PodReadyToStartContainers, corev1.PodInitialized, corev1.ContainersReady, corev1.PodReady,
	} {
		c := corev1.PodCondition{Type: t, Status: corev1.ConditionTrue, ObservedGeneration: p.Generation, LastTransitionTime: at}
		if t == corev1.PodReady && !gatesOpen(p) {
			c.Status, c.Reason = corev1.ConditionFalse, "ReadinessGatesNotReady"
		}
		all = append(all, c)
	}
	return all
}

func containers(p *corev1.Pod, all []corev1.Container, at metav1.Time) []corev1.ContainerStatus {
	var out []corev1.ContainerStatus
	for _, c := range all {
		s := container(p, c)
		s.State.Running = &corev1.ContainerStateRunning{StartedAt: at}
		out = append(out, s)
	}
	return out
}

// initContainers have ended well, but for those that run beside the others.
func initContainers(p *corev1.Pod, at metav1.Time) []corev1.ContainerStatus {
	var out []corev1.ContainerStatus
	for _, c := range p.Spec.InitContainers {
		s := container(p, c)
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			s.State.Running = &corev1.ContainerStateRunning{StartedAt: at}
		} else {
			no := false
			s.Started = &no
			s.State.Terminated = &corev1.ContainerStateTerminated{Reason: "Completed", StartedAt: at, FinishedAt: at, ContainerID: s.ContainerID}
		}
		out = append(out, s)
	}
	return out
}

func container(p *corev1.Pod, c corev1.Container) corev1.ContainerStatus {
	yes := true
	return corev1.ContainerStatus{
		Name: c.Name, Image: c.Image, ImageID: c.Image, ContainerID: "hollow://" + string(p.UID) + "/" + c.Name, Ready: true, Started: &yes,
	}
}
