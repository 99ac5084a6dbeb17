package pods

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	rt "k8s.io/cri-api/pkg/apis/runtime/v1"

	"hyperkube/internal/node/cri"
	"hyperkube/internal/node/plan"
	"hyperkube/internal/node/spec"
)

// sync brings the pod closer to its spec. done: the pod has finished and is to be ended.
func (m *Manager) sync(ctx context.Context, p *pod) (again time.Duration, done bool, err error) {
	if err := m.decide(p); err != nil {
		return 0, false, err
	}
	seen, err := m.look(ctx, p)
	if err != nil {
		return 0, false, err
	}
	obj := p.object()
	if m.namesake(obj) {
		return 0, false, errors.New("an earlier pod of the same name is still ending")
	}
	if refused := m.admit(p, seen); refused {
		return 0, true, nil
	}
	left, bounded := m.deadline(p, obj)
	if bounded && left <= 0 {
		p.fail("DeadlineExceeded", "Pod was active on the node longer than the specified deadline", nil, false)
		m.event(obj, "", corev1.EventTypeNormal, "DeadlineExceeded", "Pod was active on the node longer than the specified deadline")
		return 0, true, nil
	}
	if err := m.network(obj); err != nil {
		m.event(obj, "", corev1.EventTypeWarning, "NetworkNotReady", "network is not ready: "+err.Error())
		return 0, false, err
	}
	if err := m.cfg.Volumes.Setup(ctx, obj); err != nil {
		if ctx.Err() == nil {
			m.event(obj, "", corev1.EventTypeWarning, "FailedMount", err.Error())
		}
		// Containers that run go on, and those that need nothing new may be started anew.
		if len(seen.Running()) == 0 {
			return left, false, err
		}
		m.log.Warn("volumes not up to date", "pod", name(obj), "error", err)
	}
	resizeErr := m.resize(ctx, p, obj, seen)
	if seen, err = m.look(ctx, p); err != nil {
		return 0, false, errors.Join(resizeErr, err)
	}
	next, done, err := m.carryOut(ctx, p, seen)
	err = errors.Join(resizeErr, err)
	for _, t := range []time.Time{next, m.cfg.Volumes.NextRefresh(p.uid)} {
		if d := t.Sub(m.cfg.Now()); !t.IsZero() && (again == 0 || d < again) {
			again = max(d, time.Millisecond)
		}
	}
	if bounded && (again == 0 || left < again) {
		again = left
	}
	return again, done, err
}

// namesake says whether another pod of the same name still runs here: static pods whose file changed.
func (m *Manager) namesake(obj *corev1.Pod) bool {
	for _, o := range m.all() {
		if other := o.object(); other.Name == obj.Name && other.Namespace == obj.Namespace && other.UID != obj.UID {
			o.mu.Lock()
			ending := o.gone || other.DeletionTimestamp != nil
			o.mu.Unlock()
			if ending {
				return true
			}
		}
	}
	return false
}

// network keeps pods with a network of their own back while the node cannot give them one.
func (m *Manager) network(obj *corev1.Pod) error {
	if obj.Spec.HostNetwork || m.cfg.NetworkReady == nil {
		return nil
	}
	return m.cfg.NetworkReady()
}

// admit judges a pod that this node has not seen before; one that has containers here, or had, was admitted by the kubelet before.
func (m *Manager) admit(p *pod, seen *cri.Pod) (refused bool) {
	p.mu.Lock()
	if p.admitted {
		p.mu.Unlock()
		return false
	}
	obj := p.obj
	known := !seen.Empty() || obj.Status.StartTime != nil && len(obj.Status.ContainerStatuses) > 0
	p.mu.Unlock()
	var r *Refusal
	if !known {
		if s, bad := spec.Forbidden(obj, m.cfg.Node.SafeSysctls); bad {
			r = &Refusal{"SysctlForbidden", fmt.Sprintf("forbidden sysctl: %q not allowlisted", s)}
		} else if m.cfg.Admit != nil {
			r = m.cfg.Admit(obj, m.active(p.uid))
		}
	}
	if r == nil {
		p.mu.Lock()
		p.admitted = true
		p.mu.Unlock()
		return false
	}
	p.fail(r.Reason, "Pod was rejected: "+r.Message, nil, false)
	m.event(obj, "", corev1.EventTypeWarning, r.Reason, r.Message)
	return true
}

// deadline is the time left of activeDeadlineSeconds; bounded is false for a pod without.
func (m *Manager) deadline(p *pod, obj *corev1.Pod) (left time.Duration, bounded bool) {
	d := obj.Spec.ActiveDeadlineSeconds
	p.mu.Lock()
	defer p.mu.Unlock()
	if d == nil || p.status == nil || p.status.StartTime == nil {
		return 0, false
	}
	return p.status.StartTime.Add(time.Duration(*d) * time.Second).Sub(m.cfg.Now()), true
}

// maxRounds bounds the plans of one step; a pod never needs more than its sandbox and its containers one by one.
const maxRounds = 64

// carryOut makes plans and carries them out until there is nothing to do now.
func (m *Manager) carryOut(ctx context.Context, p *pod, seen *cri.Pod) (next time.Time, done bool, err error) {
	for range maxRounds {
		obj := p.object()
		pl := plan.Make(plan.Input{
			Pod: obj, Seen: seen, Now: m.cfg.Now(),
			Started:  m.probes.Started,
			Failed:   m.probes.Failed,
			Restarts: m.restarts(obj),
			Backoff: func(c *cri.Container) time.Time {
				return p.backoff.Until(c.Name, time.Unix(0, c.FinishedAt))
			},
		})
		m.tellWaiting(p, obj, pl)
		if pl.Idle() || pl.Finished {
			if m.resized(p, obj, seen) || len(pl.Waiting) > 0 {
				_, err = m.look(ctx, p)
			}
			m.prune(ctx, seen)
			m.countStart(p, seen)
			return pl.Next(), pl.Finished, err
		}
		if err := m.round(ctx, p, obj, seen, pl); err != nil {
			_, lookErr := m.look(ctx, p)
			return pl.Next(), false, errors.Join(err, lookErr)
		}
		if seen, err = m.look(ctx, p); err != nil {
			return time.Time{}, false, err
		}
	}
	return time.Time{}, false, errors.New("the pod does not come to rest")
}

// countStart measures how long the pod took to run for the first time.
func (m *Manager) countStart(p *pod, seen *cri.Pod) {
	if p.counted || len(seen.Running()) == 0 {
		return
	}
	p.counted = true
	for _, c := range seen.Running() {
		if time.Unix(0, c.StartedAt).Before(p.since) {
			return // taken over from an earlier kubelet
		}
	}
	m.measures.firstRun.Observe(time.Since(p.since).Seconds())
}

// tellWaiting keeps why containers wait: those in their restart delay, and no longer those that are past it.
func (m *Manager) tellWaiting(p *pod, obj *corev1.Pod, pl *plan.Plan) {
	for c := range pl.Waiting {
		text := fmt.Sprintf("back-off %s restarting failed container=%s pod=%s_%s(%s)", p.backoff.Delay(c), c, obj.Name, obj.Namespace, obj.UID)
		p.mu.Lock()
		told := p.waiting[c].Message == text
		p.waiting[c] = corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff", Message: text}
		p.mu.Unlock()
		if !told {
			m.event(obj, c, corev1.EventTypeWarning, "BackOff", fmt.Sprintf("Back-off restarting failed container %s in pod %s_%s(%s)", c, obj.Name, obj.Namespace, obj.UID))
		}
	}
}

func (m *Manager) round(ctx context.Context, p *pod, obj *corev1.Pod, seen *cri.Pod, pl *plan.Plan) error {
	if pl.Reset {
		m.event(obj, "", corev1.EventTypeNormal, "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
		if err := m.stopAll(ctx, p, obj, seen, m.ownGrace(obj), "the sandbox of the pod changed"); err != nil {
			return err
		}
	}
	if pl.CreateSandbox {
		return m.createSandbox(ctx, obj, pl.Attempt)
	}
	for _, k := range pl.Kill {
		if err := m.killOne(ctx, p, obj, k); err != nil {
			return err
		}
	}
	var errs []error
	for _, c := range pl.Start {
		if err := m.startContainer(ctx, p, obj, seen, c); err != nil {
			errs = append(errs, fmt.Errorf("container %s: %w", c.Name, err))
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return errors.Join(errs...)
}

// prune removes dead containers that nobody asks for any more: all but the newest two of a name, and old sandboxes.
func (m *Manager) prune(ctx context.Context, seen *cri.Pod) {
	kept := map[string]int{}
	for _, c := range seen.Containers {
		if kept[c.Name]++; kept[c.Name] > 2 && c.Exited() {
			m.removeContainer(ctx, c)
		}
	}
	for i, s := range seen.Sandboxes {
		if i == 0 || s.State == rt.PodSandboxState_SANDBOX_READY || holds(seen, s.Id) {
			continue
		}
		if _, err := m.cfg.CRI.Runtime.RemovePodSandbox(ctx, &rt.RemovePodSandboxRequest{PodSandboxId: s.Id}); err != nil && ctx.Err() == nil {
			m.log.Warn("old sandbox not removed", "sandbox", s.Id, "error", err)
		}
	}
}

// holds says whether a sandbox has a container that is still asked for; removing the sandbox would remove it.
func holds(seen *cri.Pod, sandbox string) bool {
	n := map[string]int{}
	for _, c := range seen.Containers {
		if n[c.Name]++; n[c.Name] <= 2 && c.SandboxID == sandbox {
			return true
		}
	}
	return false
}

func (m *Manager) removeContainer(ctx context.Context, c *cri.Container) {
	if _, err := m.cfg.CRI.Runtime.RemoveContainer(ctx, &rt.RemoveContainerRequest{ContainerId: c.Id}); err != nil && !cri.IsNotFound(err) {
		if ctx.Err() == nil {
			m.log.Warn("dead container not removed", "container", c.Id, "error", err)
		}
		return
	}
	m.cfg.CRI.Forget(c.Id)
	m.unlinkLog(c)
}

func (m *Manager) event(obj *corev1.Pod, container, kind, reason, message string) {
	m.cfg.Events.Event(obj, container, kind, reason, message)
}
