package status

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	rt "k8s.io/cri-api/pkg/apis/runtime/v1"

	"hyperkube/internal/node/cri"
	"hyperkube/internal/node/plan"
	"hyperkube/internal/node/spec"
)

// lost is what is said of a container that ran and that the runtime knows no more.
const lostMessage = "The container could not be located when the pod was terminated"

func (g *generator) statuses(list []corev1.Container, old []corev1.ContainerStatus, init, initialized bool) []corev1.ContainerStatus {
	var out []corev1.ContainerStatus
	for i := range list {
		out = append(out, g.container(&list[i], find(old, list[i].Name), init, initialized))
	}
	return out
}

func (g *generator) container(c *corev1.Container, old *corev1.ContainerStatus, init, initialized bool) corev1.ContainerStatus {
	st := g.Seen.Newest(c.Name)
	if st == nil {
		return g.unmade(c, old, init, initialized)
	}
	s := corev1.ContainerStatus{
		Name: c.Name, RestartCount: int32(st.RestartCount()),
		Image: imageName(c, st), ImageID: st.ImageRef, ContainerID: g.RuntimeName + "://" + st.Id,
	}
	if st.ImageId != "" {
		s.ImageID = st.ImageId
	}
	if st.ImageRef != "" {
		s.ImageID = st.ImageRef
	}
	if s.State = g.state(st); s.State.Waiting != nil {
		s.State.Waiting.Reason = g.starting(init, initialized)
	}
	if p := g.Seen.Previous(c.Name); p != nil && p.Exited() {
		s.LastTerminationState = g.state(p)
	} else if old != nil && old.ContainerID == s.ContainerID {
		s.LastTerminationState = old.LastTerminationState
	}
	g.running(c, st, &s, init)
	if w, ok := g.Waiting[c.Name]; ok && s.State.Running == nil && g.mayStart(c, st, init) {
		if s.State.Terminated != nil {
			s.LastTerminationState = s.State
		}
		s.State = corev1.ContainerState{Waiting: &w}
	}
	if g.Over && s.State.Terminated == nil {
		lose(&s)
	}
	return s
}

// mayStart says whether a container that ended will be started again, so that it is waiting rather than terminated.
func (g *generator) mayStart(c *corev1.Container, st *cri.Container, init bool) bool {
	return !g.Over && (!st.Exited() || plan.Restarts(g.Pod, c, st.ExitCode, init))
}

func imageName(c *corev1.Container, st *cri.Container) string {
	if i := st.GetImage().GetImage(); i != "" {
		return i
	}
	return c.Image
}

func (g *generator) running(c *corev1.Container, st *cri.Container, s *corev1.ContainerStatus, init bool) {
	runs := st.Running()
	started := runs && g.Started(st.Id)
	s.Started = &started
	if init && !spec.Restartable(c) {
		s.Ready = st.Exited() && st.ExitCode == 0
	} else {
		s.Ready = started && g.Ready(st.Id)
	}
	if st.StopSignal != rt.Signal_SIGNAL_RUNTIME_DEFAULT && c.Lifecycle != nil && c.Lifecycle.StopSignal != nil {
		s.StopSignal = c.Lifecycle.StopSignal
	}
	s.VolumeMounts = volumeMounts(c)
	s.AllocatedResources = c.Resources.Requests
	if g.Resources != nil {
		s.Resources = g.Resources(c, st)
	}
	if s.Resources == nil {
		s.Resources = c.Resources.DeepCopy()
	}
	if u := st.GetUser().GetLinux(); u != nil {
		s.User = &corev1.ContainerUser{Linux: &corev1.LinuxContainerUser{UID: u.Uid, GID: u.Gid, SupplementalGroups: u.SupplementalGroups}}
	}
}

func volumeMounts(c *corev1.Container) []corev1.VolumeMountStatus {
	var out []corev1.VolumeMountStatus
	for _, m := range c.VolumeMounts {
		v := corev1.VolumeMountStatus{Name: m.Name, MountPath: m.MountPath, ReadOnly: m.ReadOnly}
		if m.ReadOnly {
			mode := corev1.RecursiveReadOnlyDisabled
			if m.RecursiveReadOnly != nil && *m.RecursiveReadOnly != corev1.RecursiveReadOnlyDisabled {
				mode = corev1.RecursiveReadOnlyEnabled
			}
			v.RecursiveReadOnly = &mode
		}
		out = append(out, v)
	}
	return out
}

// state of a container as the runtime has it.
func (g *generator) state(st *cri.Container) corev1.ContainerState {
	switch {
	case st.Running():
		return corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: at(st.StartedAt)}}
	case st.Exited():
		t := &corev1.ContainerStateTerminated{
			ExitCode: st.ExitCode, Reason: st.Reason, Message: st.Message,
			StartedAt: at(st.StartedAt), FinishedAt: at(st.FinishedAt), ContainerID: g.RuntimeName + "://" + st.Id,
		}
		if m := g.Message(st); m != "" {
			t.Message = m
		}
		if t.Reason == "" || t.Reason == "Unknown" {
			t.Reason = "Error"
			if t.ExitCode == 0 {
				t.Reason = "Completed"
			}
		}
		return corev1.ContainerState{Terminated: t}
	}
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{}}
}

func at(ns int64) metav1.Time {
	if ns <= 0 {
		return metav1.NewTime(time.Unix(0, 0))
	}
	return metav1.NewTime(time.Unix(0, ns))
}

// starting is why a container waits that nothing keeps from running.
func (g *generator) starting(init, initialized bool) string {
	if len(g.Pod.Spec.InitContainers) > 0 && (init || !initialized) {
		return "PodInitializing"
	}
	return "ContainerCreating"
}

// unmade is the status of a container that the runtime does not have: not made yet, or gone.
func (g *generator) unmade(c *corev1.Container, old *corev1.ContainerStatus, init, initialized bool) corev1.ContainerStatus {
	no := false
	s := corev1.ContainerStatus{Name: c.Name, Image: c.Image, Started: &no}
	if old != nil && (old.State.Terminated != nil || old.State.Running != nil || old.RestartCount > 0) {
		s = *old.DeepCopy()
		s.Started = &no
		if s.State.Terminated != nil && (g.Over || g.Old.Phase == corev1.PodFailed || g.Old.Phase == corev1.PodSucceeded || init && s.State.Terminated.ExitCode == 0) {
			return s
		}
		s.Ready = false
		if g.Over {
			lose(&s)
			return s
		}
		if s.State.Running != nil {
			lose(&s)
		}
		if s.State.Terminated != nil {
			s.LastTerminationState = s.State
		}
	}
	w, ok := g.Waiting[c.Name]
	if !ok {
		w.Reason = g.starting(init, initialized)
	}
	if g.Over {
		return s // never started: it stays without a state other than waiting
	}
	s.State = corev1.ContainerState{Waiting: &w}
	return s
}

// lose marks a container of which nobody knows how it ended.
func lose(s *corev1.ContainerStatus) {
	no := false
	if s.State.Running == nil && s.ContainerID == "" {
		return
	}
	t := &corev1.ContainerStateTerminated{ExitCode: 137, Reason: "ContainerStatusUnknown", Message: lostMessage, ContainerID: s.ContainerID}
	if s.State.Running != nil {
		t.StartedAt = s.State.Running.StartedAt
	}
	s.State, s.Ready, s.Started = corev1.ContainerState{Terminated: t}, false, &no
}
