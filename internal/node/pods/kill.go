package pods

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	rt "k8s.io/cri-api/pkg/apis/runtime/v1"

	"hyperkube/internal/node/cri"
	"hyperkube/internal/node/hook"
	"hyperkube/internal/node/plan"
	"hyperkube/internal/node/spec"
	nodestatus "hyperkube/internal/node/status"
)

// minGrace is what every container gets to end by itself, in seconds, even when its hook used the whole grace period.
const minGrace = 2

// ownGrace is the grace period of the pod's spec, in seconds.
func (m *Manager) ownGrace(obj *corev1.Pod) int64 {
	if g := obj.Spec.TerminationGracePeriodSeconds; g != nil {
		return *g
	}
	return corev1.DefaultTerminationGracePeriodSeconds
}

// killOne stops one container of a pod that goes on.
func (m *Manager) killOne(ctx context.Context, p *pod, obj *corev1.Pod, k plan.Kill) error {
	grace := m.ownGrace(obj)
	if c := spec.Find(&obj.Spec, k.Container.Name); c != nil {
		if g := probeGrace(c, k.Reason); g != nil {
			grace = *g
		}
	}
	if k.Container.State == rt.ContainerState_CONTAINER_CREATED {
		_, err := m.cfg.CRI.Runtime.RemoveContainer(ctx, &rt.RemoveContainerRequest{ContainerId: k.Container.Id})
		if cri.IsNotFound(err) {
			return nil
		}
		return err
	}
	s := stopping{m: m, p: p, obj: obj, grace: grace}
	return s.stop(ctx, k.Container, k.Message)
}

// probeGrace is the grace period that a probe brings for the containers that it kills (KEP-2238).
func probeGrace(c *corev1.Container, reason string) *int64 {
	switch {
	case reason == "liveness probe" && c.LivenessProbe != nil:
		return c.LivenessProbe.TerminationGracePeriodSeconds
	case reason == "startup probe" && c.StartupProbe != nil:
		return c.StartupProbe.TerminationGracePeriodSeconds
	}
	return nil
}

// stopAll stops every container and sandbox of a pod: the containers together, then its sidecars, the last of them
// first. All share one grace period, their preStop hooks count against it, and all hooks begin at once.
func (m *Manager) stopAll(ctx context.Context, p *pod, obj *corev1.Pod, seen *cri.Pod, grace int64, why string) error {
	s := stopping{m: m, p: p, obj: obj, grace: grace, seen: seen}
	running := seen.Running()
	waves := order(&obj.Spec, running)
	gates := make([]sync.WaitGroup, len(waves))
	for i, wave := range waves {
		gates[i].Add(len(wave))
	}
	errs := make(chan error, len(running))
	for i, wave := range waves {
		for _, c := range wave {
			turn := func() {
				if i > 0 {
					gates[i-1].Wait()
				}
			}
			go func() {
				defer gates[i].Done()
				errs <- s.stopInTurn(ctx, c, "Stopping container "+c.Name, turn)
			}()
		}
	}
	var all []error
	for range running {
		all = append(all, <-errs)
	}
	if err := errors.Join(all...); err != nil {
		return err
	}
	for _, sb := range seen.Sandboxes {
		if sb.State != rt.PodSandboxState_SANDBOX_READY && sb != seen.Sandbox() {
			continue
		}
		if _, err := m.cfg.CRI.Runtime.StopPodSandbox(ctx, &rt.StopPodSandboxRequest{PodSandboxId: sb.Id}); err != nil && !cri.IsNotFound(err) {
			if ctx.Err() == nil {
				m.event(obj, "", corev1.EventTypeWarning, "FailedKillPod", "error killing pod: "+err.Error())
			}
			return fmt.Errorf("stop sandbox (%s): %w", why, err)
		}
	}
	return nil
}

// order puts containers into the waves in which they are stopped.
func order(s *corev1.PodSpec, running []*cri.Container) [][]*cri.Container {
	byName := map[string][]*cri.Container{}
	for _, c := range running {
		byName[c.Name] = append(byName[c.Name], c)
	}
	var sidecars [][]*cri.Container
	for i := len(s.InitContainers) - 1; i >= 0; i-- {
		c := &s.InitContainers[i]
		if spec.Restartable(c) && len(byName[c.Name]) > 0 {
			sidecars = append(sidecars, byName[c.Name])
			delete(byName, c.Name)
		}
	}
	var first []*cri.Container
	for _, c := range running {
		if _, ok := byName[c.Name]; ok {
			first = append(first, c)
		}
	}
	return append([][]*cri.Container{first}, sidecars...)
}

// stopping is one stopping of containers of a pod.
type stopping struct {
	m     *Manager
	p     *pod
	obj   *corev1.Pod
	seen  *cri.Pod
	grace int64
}

func (s *stopping) stop(ctx context.Context, c *cri.Container, message string) error {
	return s.stopInTurn(ctx, c, message, func() {})
}

// stopInTurn runs the preStop hook, waits for the container's turn, and stops it with what is left of the grace period.
func (s *stopping) stopInTurn(ctx context.Context, c *cri.Container, message string, turn func()) error {
	began := time.Now()
	s.m.event(s.obj, c.Name, corev1.EventTypeNormal, "Killing", message)
	deadline := began.Add(time.Duration(s.grace) * time.Second)
	if s.grace > 0 {
		s.preStop(ctx, c, deadline)
	}
	turn()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	left := max(int64(time.Until(deadline).Round(time.Second)/time.Second), minGrace)
	_, err := s.m.cfg.CRI.Runtime.StopContainer(ctx, &rt.StopContainerRequest{ContainerId: c.Id, Timeout: left})
	if err == nil || cri.IsNotFound(err) {
		return nil
	}
	if ctx.Err() == nil && status.Code(err) != codes.Canceled {
		s.m.event(s.obj, c.Name, corev1.EventTypeWarning, "FailedKillPod", "error killing pod: "+err.Error())
	}
	return fmt.Errorf("stop container %s: %w", c.Name, err)
}

// preStop runs a container's hook once, until the deadline.
func (s *stopping) preStop(ctx context.Context, c *cri.Container, deadline time.Time) {
	var handler *corev1.LifecycleHandler
	if k := spec.Find(&s.obj.Spec, c.Name); k == nil {
		handler = c.PreStop()
	} else if k.Lifecycle != nil {
		handler = k.Lifecycle.PreStop
	}
	if handler == nil || handler.Exec == nil && handler.HTTPGet == nil && handler.Sleep == nil && handler.TCPSocket == nil {
		return
	}
	s.p.mu.Lock()
	done := s.p.hooked[c.Id]
	s.p.hooked[c.Id] = true
	s.p.mu.Unlock()
	if done {
		return
	}
	bounded, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	ip := ""
	s.p.mu.Lock()
	seen := s.p.seen
	s.p.mu.Unlock()
	if ips := nodestatus.PodIPs(s.obj, seen, s.m.cfg.HostIPs()); len(ips) > 0 {
		ip = ips[0]
	}
	if err := hook.Run(bounded, handler, c.Id, c.Ports(), ip, s.m.Exec); err != nil && ctx.Err() == nil {
		s.m.event(s.obj, c.Name, corev1.EventTypeWarning, "FailedPreStopHook", "PreStopHook failed")
		s.m.log.Info("preStop hook failed", "pod", name(s.obj), "container", c.Name, "error", err)
	}
}

// Exec runs a command in a container and waits for it. A timeout of 0 is none.
func (m *Manager) Exec(ctx context.Context, id string, cmd []string, timeout time.Duration) ([]byte, int32, error) {
	seconds := int64((timeout + time.Second - 1) / time.Second)
	resp, err := m.cfg.CRI.Runtime.ExecSync(ctx, &rt.ExecSyncRequest{ContainerId: id, Cmd: cmd, Timeout: seconds})
	if status.Code(err) == codes.DeadlineExceeded {
		return nil, 0, context.DeadlineExceeded
	}
	if err != nil {
		return nil, 0, err
	}
	return append(resp.Stdout, resp.Stderr...), resp.ExitCode, nil
}
