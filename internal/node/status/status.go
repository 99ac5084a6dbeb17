// Package status makes a pod's status from what the runtime has of it, and writes it to the API.
//
// [Generate] is pure. [Writer] sends each pod's newest status, one write per pod at a time and only what
// differs from what the server has; a status that is overtaken before it was sent is never sent.
package status

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"hyperkube/internal/node/cri"
	"hyperkube/internal/node/plan"
	"hyperkube/internal/node/spec"
)

// Input is what a status is made from.
type Input struct {
	Pod *corev1.Pod
	// Old is the status that was generated before, or that the server has after a restart.
	Old  *corev1.PodStatus
	Seen *cri.Pod
	Now  time.Time

	HostIPs     []string
	RuntimeName string // "containerd", for container IDs

	// Started and Ready are the results of startup and readiness probes, by container ID.
	Started, Ready func(containerID string) bool
	// Waiting says why containers do not run, by name.
	Waiting map[string]corev1.ContainerStateWaiting
	// Message is what a container left as its termination message.
	Message func(c *cri.Container) string
	// Resources of a running container as the runtime has them; nil keeps those of the spec.
	Resources func(c *corev1.Container, st *cri.Container) *corev1.ResourceRequirements

	// Reason and Text fail the pod as a whole: Evicted, DeadlineExceeded, a refused admission.
	Reason, Text string
	Failed       bool
	// Resize is what there is to tell of a change of the pod's resources.
	Resize []corev1.PodCondition
	// Disrupted: the node ends the pod, through no fault of the pod's own (KEP-3329).
	Disrupted bool
	// Over: the pod's containers have been stopped, and what has not ended is lost.
	Over bool
}

// Generate a status.
func Generate(in Input) *corev1.PodStatus {
	if in.Old == nil {
		in.Old = &corev1.PodStatus{}
	}
	g := generator{in}
	s := in.Old.DeepCopy()
	s.ObservedGeneration = in.Pod.Generation
	s.QOSClass = spec.QOS(in.Pod)
	if s.StartTime == nil {
		now := metav1.NewTime(in.Now)
		s.StartTime = &now
	}
	initialized := plan.Initialized(in.Pod, in.Seen)
	s.InitContainerStatuses = g.statuses(in.Pod.Spec.InitContainers, in.Old.InitContainerStatuses, true, initialized)
	s.ContainerStatuses = g.statuses(in.Pod.Spec.Containers, in.Old.ContainerStatuses, false, initialized)
	s.EphemeralContainerStatuses = g.ephemeral(in.Old.EphemeralContainerStatuses)
	g.phase(s)
	g.addresses(s)
	g.conditions(s)
	return s
}

type generator struct{ Input }

func (g *generator) ephemeral(old []corev1.ContainerStatus) []corev1.ContainerStatus {
	var list []corev1.Container
	for i := range g.Pod.Spec.EphemeralContainers {
		list = append(list, *spec.Ephemeral(&g.Pod.Spec.EphemeralContainers[i]))
	}
	out := g.statuses(list, old, false, true)
	for i := range out {
		out[i].Ready = false
		out[i].Started = nil
	}
	return out
}

// phase of the whole pod. One that ended stays ended, and none ends while a container still runs.
func (g *generator) phase(s *corev1.PodStatus) {
	old := g.Old.Phase
	if old == corev1.PodFailed || old == corev1.PodSucceeded {
		return
	}
	if g.Failed {
		s.Reason, s.Message = g.Reason, g.Text
	}
	p := phaseOf(g.Pod, s)
	if g.Failed {
		p = corev1.PodFailed
	}
	if g.Over && p != corev1.PodSucceeded {
		p = ended(s)
	}
	if (p == corev1.PodFailed || p == corev1.PodSucceeded) && anyRunning(s) {
		p = corev1.PodRunning
		if old == corev1.PodPending || old == "" {
			p = corev1.PodPending
		}
	}
	s.Phase = p
}

// ended is the phase of a pod whose containers were stopped.
func ended(s *corev1.PodStatus) corev1.PodPhase {
	for i := range s.ContainerStatuses {
		if t := s.ContainerStatuses[i].State.Terminated; t == nil || t.ExitCode != 0 {
			return corev1.PodFailed
		}
	}
	return corev1.PodSucceeded
}

func anyRunning(s *corev1.PodStatus) bool {
	for _, l := range [][]corev1.ContainerStatus{s.InitContainerStatuses, s.ContainerStatuses} {
		for i := range l {
			if l[i].State.Running != nil {
				return true
			}
		}
	}
	return false
}

func phaseOf(pod *corev1.Pod, s *corev1.PodStatus) corev1.PodPhase {
	pending, failed := initPhase(pod, s)
	if failed {
		return corev1.PodFailed
	}
	var running, waiting, ended, well, again int
	for i := range pod.Spec.Containers {
		c := &pod.Spec.Containers[i]
		st := find(s.ContainerStatuses, c.Name)
		switch {
		case st == nil:
			waiting++
		case st.State.Running != nil:
			running++
		case st.State.Terminated != nil:
			ended++
			if st.State.Terminated.ExitCode == 0 {
				well++
			}
			if plan.Restarts(pod, c, st.State.Terminated.ExitCode, false) {
				again++
			}
		case st.LastTerminationState.Terminated != nil:
			ended++
			again++
		default:
			waiting++
		}
	}
	switch {
	case pending, waiting > 0:
		return corev1.PodPending
	case running > 0 || again > 0:
		return corev1.PodRunning
	case ended > 0 && ended == well:
		return corev1.PodSucceeded
	case ended > 0:
		return corev1.PodFailed
	}
	return corev1.PodPending
}

// initPhase says whether init containers are still to be done, or failed for good.
func initPhase(pod *corev1.Pod, s *corev1.PodStatus) (pending, failed bool) {
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		st := find(s.InitContainerStatuses, c.Name)
		if spec.Restartable(c) {
			if st == nil || st.Started == nil || !*st.Started {
				// A sidecar that started once and is being restarted does not make the pod pending again.
				pending = pending || st == nil || st.State.Terminated == nil && st.LastTerminationState.Terminated == nil
			}
			continue
		}
		t := (*corev1.ContainerStateTerminated)(nil)
		if st != nil {
			t = st.State.Terminated
		}
		switch {
		case t == nil:
			pending = true
		case t.ExitCode != 0 && !plan.Restarts(pod, c, t.ExitCode, true):
			return false, true
		case t.ExitCode != 0:
			pending = true
		}
	}
	return pending, false
}

func (g *generator) addresses(s *corev1.PodStatus) {
	if len(g.HostIPs) > 0 {
		s.HostIP, s.HostIPs = g.HostIPs[0], nil
		for _, ip := range g.HostIPs {
			s.HostIPs = append(s.HostIPs, corev1.HostIP{IP: ip})
		}
	}
	ips := PodIPs(g.Pod, g.Seen, g.HostIPs)
	if len(ips) == 0 {
		return // those of the last sandbox stay while there is none
	}
	s.PodIP, s.PodIPs = ips[0], nil
	for _, ip := range ips {
		s.PodIPs = append(s.PodIPs, corev1.PodIP{IP: ip})
	}
}

// PodIPs are the addresses of a pod: its sandbox's, or the node's for a pod in the host's network.
func PodIPs(pod *corev1.Pod, seen *cri.Pod, hostIPs []string) []string {
	if pod.Spec.HostNetwork {
		return hostIPs
	}
	s := seen.ReadySandbox()
	if s.GetNetwork().GetIp() == "" {
		return nil
	}
	ips := []string{s.Network.Ip}
	for _, a := range s.Network.AdditionalIps {
		ips = append(ips, a.Ip)
	}
	return ips
}

func find(list []corev1.ContainerStatus, name string) *corev1.ContainerStatus {
	for i := range list {
		if list[i].Name == name {
			return &list[i]
		}
	}
	return nil
}
