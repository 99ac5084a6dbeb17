// Package plan decides what a pod needs next: given its spec and what the runtime has of it, which containers to stop, which
// to start now, which to start later, whether it needs a new sandbox, or whether it has finished.
//
// [Make] is pure: the clock, probe results and restart delays are given to it. The caller carries the plan out, reads the
// runtime again and asks for the next one, until a plan asks for nothing; so a plan holds only what can be
// done at once. Init containers come in the order of the spec, each after the one before it has ended well (or, for
// a sidecar, has started); containers follow when all of them are through.
package plan

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	rt "k8s.io/cri-api/pkg/apis/runtime/v1"

	"hyperkube/internal/node/cri"
	"hyperkube/internal/node/spec"
)

// Input is what a decision is made from.
type Input struct {
	Pod  *corev1.Pod
	Seen *cri.Pod
	Now  time.Time
	// Started says whether a running container's startup probe has succeeded.
	Started func(containerID string) bool
	// Failed says why a running container must be stopped: "liveness probe", "startup probe" or "".
	Failed func(containerID string) string
	// Restarts says whether a running container is to start anew to get its resources; nil is never.
	Restarts func(c *corev1.Container, st *cri.Container) bool
	// Backoff gives the time at which a container that ended may start again; the zero time is now.
	Backoff func(exited *cri.Container) time.Time
}

// Kill is a container to stop.
type Kill struct {
	Container *cri.Container
	Reason    string // "liveness probe", "startup probe", or "" for other causes
	Message   string // of the Killing event
}

// Plan is what to do now.
type Plan struct {
	// Reset stops all that runs and the old sandboxes.
	Reset bool
	// CreateSandbox asks for a sandbox numbered Attempt.
	CreateSandbox bool
	Attempt       uint32
	Kill          []Kill
	Start         []*corev1.Container
	// Waiting are containers that start again at a time to come.
	Waiting map[string]time.Time
	// Finished: nothing of the pod will run again by itself; what still runs (sidecars) is to be stopped.
	Finished bool
}

// Idle says that there is nothing to do now.
func (p *Plan) Idle() bool {
	return !p.Reset && !p.CreateSandbox && !p.Finished && len(p.Kill) == 0 && len(p.Start) == 0
}

// Next is the earliest time of Waiting; zero when nothing waits.
func (p *Plan) Next() time.Time {
	var next time.Time
	for _, t := range p.Waiting {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	return next
}

// Make a plan.
func Make(in Input) *Plan {
	m := maker{Input: in, plan: &Plan{Waiting: map[string]time.Time{}}}
	sandbox := usable(in.Pod, in.Seen)
	if m.over() {
		m.plan.Finished = true
		return m.plan
	}
	if sandbox == nil {
		m.plan.CreateSandbox = true
		m.plan.Attempt = nextAttempt(in.Seen)
		m.plan.Reset = !in.Seen.Idle()
		return m.plan
	}
	m.sandbox = sandbox.Id
	m.strays()
	m.ephemeral()
	if m.initialize() {
		m.sidecars()
		m.containers()
	}
	return m.plan
}

type maker struct {
	Input
	sandbox string
	plan    *Plan
}

// usable is the pod's sandbox if it can go on with it: exactly one is ready, with the network that the spec wants.
func usable(pod *corev1.Pod, seen *cri.Pod) *rt.PodSandboxStatus {
	s := seen.ReadySandbox()
	if s == nil {
		return nil
	}
	ready := 0
	for _, o := range seen.Sandboxes {
		if o.State == rt.PodSandboxState_SANDBOX_READY {
			ready++
		}
	}
	if ready > 1 || !pod.Spec.HostNetwork && s.GetNetwork().GetIp() == "" {
		return nil
	}
	return s
}

func nextAttempt(seen *cri.Pod) uint32 {
	if s := seen.Sandbox(); s != nil {
		return s.GetMetadata().GetAttempt() + 1
	}
	return 0
}

// over says that the pod has done all it will: an init container failed for good, or every container ended
// and none is to be started again.
func (m *maker) over() bool {
	if m.initFailed() {
		return true
	}
	for i := range m.Pod.Spec.Containers {
		c := &m.Pod.Spec.Containers[i]
		st := m.Seen.Newest(c.Name)
		if st == nil || !st.Exited() || m.restart(c, st, false) {
			return false
		}
	}
	return len(m.Pod.Spec.Containers) > 0
}

func (m *maker) initFailed() bool {
	for i := range m.Pod.Spec.InitContainers {
		c := &m.Pod.Spec.InitContainers[i]
		st := m.Seen.Newest(c.Name)
		if st != nil && st.Exited() && st.ExitCode != 0 && !spec.Restartable(c) && !m.restart(c, st, true) {
			return true
		}
	}
	return false
}

// restart says whether a container that ended is to start again.
func (m *maker) restart(c *corev1.Container, st *cri.Container, init bool) bool {
	return Restarts(m.Pod, c, st.ExitCode, init)
}

// Restarts says whether a container that ended with a code is to start again, by its own rules and policy
// (KEP-5307) or the pod's.
func Restarts(pod *corev1.Pod, c *corev1.Container, code int32, init bool) bool {
	for _, r := range c.RestartPolicyRules {
		if ruleMatches(r, code) {
			return r.Action == corev1.ContainerRestartRuleActionRestart
		}
	}
	policy := string(pod.Spec.RestartPolicy)
	if c.RestartPolicy != nil {
		policy = string(*c.RestartPolicy)
		if init && policy == string(corev1.ContainerRestartPolicyAlways) {
			return true // a sidecar
		}
	}
	switch policy {
	case string(corev1.RestartPolicyNever):
		return false
	case string(corev1.RestartPolicyOnFailure):
		return code != 0
	}
	return !init || code != 0
}

func ruleMatches(r corev1.ContainerRestartRule, code int32) bool {
	if r.ExitCodes == nil {
		return false
	}
	in := false
	for _, v := range r.ExitCodes.Values {
		in = in || v == code
	}
	return in == (r.ExitCodes.Operator == corev1.ContainerRestartRuleOnExitCodesOpIn)
}

// strays are containers that run in another sandbox, or that the spec does not have.
func (m *maker) strays() {
	for _, st := range m.Seen.Running() {
		if st.SandboxID != m.sandbox || spec.Find(&m.Pod.Spec, st.Name) == nil {
			m.plan.Kill = append(m.plan.Kill, Kill{Container: st, Message: fmt.Sprintf("Stopping container %s", st.Name)})
		}
	}
}

// ephemeral containers start once and are never started again.
func (m *maker) ephemeral() {
	for i := range m.Pod.Spec.EphemeralContainers {
		e := &m.Pod.Spec.EphemeralContainers[i]
		if m.Seen.Newest(e.Name) == nil {
			m.plan.Start = append(m.plan.Start, spec.Ephemeral(e))
		}
	}
}

// here is the newest container of a name in the pod's sandbox.
func (m *maker) here(name string) *cri.Container {
	if st := m.Seen.Newest(name); st != nil && st.SandboxID == m.sandbox {
		return st
	}
	return nil
}

// Initialized says whether the pod's sandbox is past its init containers: one of the containers was made in it.
func Initialized(pod *corev1.Pod, seen *cri.Pod) bool {
	if len(pod.Spec.InitContainers) == 0 {
		return true
	}
	s := seen.Sandbox()
	if s == nil {
		return false
	}
	for i := range pod.Spec.Containers {
		if st := seen.Newest(pod.Spec.Containers[i].Name); st != nil && st.SandboxID == s.Id {
			return true
		}
	}
	return false
}

// initialize takes the next step through the init containers, and says whether all are through.
func (m *maker) initialize() bool {
	if Initialized(m.Pod, m.Seen) {
		return true
	}
	for i := range m.Pod.Spec.InitContainers {
		c := &m.Pod.Spec.InitContainers[i]
		st := m.here(c.Name)
		switch {
		case st == nil:
			m.startAfter(c, m.Seen.Newest(c.Name))
			return false
		case spec.Restartable(c):
			if !m.keep(c, st, true) || !m.Started(st.Id) {
				return false
			}
		case st.Exited() && st.ExitCode == 0:
		default:
			m.keep(c, st, true)
			return false
		}
	}
	return true
}

// sidecars keep running for as long as the pod does.
func (m *maker) sidecars() {
	for i := range m.Pod.Spec.InitContainers {
		c := &m.Pod.Spec.InitContainers[i]
		if !spec.Restartable(c) {
			continue
		}
		if st := m.here(c.Name); st == nil {
			m.startAfter(c, m.Seen.Newest(c.Name))
		} else {
			m.keep(c, st, true)
		}
	}
}

func (m *maker) containers() {
	for i := range m.Pod.Spec.Containers {
		c := &m.Pod.Spec.Containers[i]
		st := m.Seen.Newest(c.Name)
		if st == nil {
			m.plan.Start = append(m.plan.Start, c)
			continue
		}
		m.keep(c, st, false)
	}
}

// startAfter starts a container, after the delay that its last end imposes.
func (m *maker) startAfter(c *corev1.Container, last *cri.Container) {
	if last != nil && last.Exited() {
		if at := m.Backoff(last); at.After(m.Now) {
			m.plan.Waiting[c.Name] = at
			return
		}
	}
	m.plan.Start = append(m.plan.Start, c)
}

// keep sees to it that a container that was made goes on running. It says whether it runs as it should.
func (m *maker) keep(c *corev1.Container, st *cri.Container, init bool) bool {
	switch {
	case st.Exited():
		if m.restart(c, st, init) {
			m.startAfter(c, st)
		}
		return false
	case !st.Running(): // made and never started, or lost by the runtime
		m.plan.Kill = append(m.plan.Kill, Kill{Container: st, Message: fmt.Sprintf("Container %s is in an unknown state, try killing it before restart", c.Name)})
		m.plan.Start = append(m.plan.Start, c)
		return false
	case st.SandboxID != m.sandbox:
		return false // a stray, stopped already
	}
	if st.SpecHash() != cri.Hash(c) {
		m.plan.Kill = append(m.plan.Kill, Kill{Container: st, Message: fmt.Sprintf("Container %s definition changed, will be restarted", c.Name)})
		m.plan.Start = append(m.plan.Start, c)
		return false
	}
	if m.Input.Restarts != nil && m.Input.Restarts(c, st) {
		m.plan.Kill = append(m.plan.Kill, Kill{Container: st, Message: fmt.Sprintf("Container %s resize requires restart", c.Name)})
		m.plan.Start = append(m.plan.Start, c)
		return false
	}
	if why := m.Failed(st.Id); why != "" {
		message := fmt.Sprintf("Container %s failed %s", c.Name, why)
		again := m.restart(c, &cri.Container{ContainerStatus: &rt.ContainerStatus{ExitCode: 137}}, init)
		if again {
			message += ", will be restarted"
		}
		m.plan.Kill = append(m.plan.Kill, Kill{Container: st, Reason: why, Message: message})
		return false
	}
	return true
}
