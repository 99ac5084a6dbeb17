package pods

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	rt "k8s.io/cri-api/pkg/apis/runtime/v1"

	"hyperkube/internal/client"
	"hyperkube/internal/node/cri"
	"hyperkube/internal/node/spec"
)

// terminate stops what runs of a pod.
func (m *Manager) terminate(ctx context.Context, p *pod) error {
	seen, err := m.look(ctx, p)
	if err != nil {
		return err
	}
	if !seen.Idle() {
		obj := p.object()
		p.mu.Lock()
		p.grace = m.graceNow(p, obj)
		grace := p.grace
		p.mu.Unlock()
		if err := m.stopAll(ctx, p, obj, seen, grace, "the pod ends"); err != nil {
			return err
		}
		if seen, err = m.look(ctx, p); err != nil {
			return err
		}
		if !seen.Idle() {
			return errors.New("containers still run after they were stopped")
		}
	}
	p.mu.Lock()
	p.over = true
	p.mu.Unlock()
	m.probes.Forget(p.uid)
	_, err = m.look(ctx, p)
	return err
}

// graceNow is the grace period that applies: of the deletion, of what made the pod fail, or of the pod. p.mu is held.
func (m *Manager) graceNow(p *pod, obj *corev1.Pod) int64 {
	switch g := deletion(obj); {
	case p.gone && g == nil:
		return minGrace
	case p.gone:
		return min(*g, minGrace)
	case g != nil:
		return *g
	case p.failure != nil && p.failure.grace != nil:
		return *p.failure.grace
	}
	return m.ownGrace(obj)
}

// terminatedStep takes away what a pod that ended does not need any more, and everything once it is to be deleted.
func (m *Manager) terminatedStep(ctx context.Context, p *pod) (time.Duration, error) {
	p.mu.Lock()
	obj, gone, cleaned := p.obj, p.gone, p.cleaned
	p.mu.Unlock()
	if !cleaned {
		if err := m.clean(ctx, p); err != nil {
			return 0, err
		}
		p.mu.Lock()
		p.cleaned = true
		p.mu.Unlock()
		m.wakeDeferred()
	}
	switch {
	case gone:
		return 0, m.forget(ctx, p)
	case obj.DeletionTimestamp != nil:
		m.finish(p)
	}
	return 0, nil
}

func (m *Manager) clean(ctx context.Context, p *pod) error {
	if err := m.cfg.Volumes.Teardown(ctx, p.uid); err != nil {
		return fmt.Errorf("unmount volumes: %w", err)
	}
	m.cfg.Users.Release(p.uid)
	if m.cfg.Cgroups != nil {
		if err := m.cfg.Cgroups.Remove(p.uid); err != nil {
			return fmt.Errorf("remove cgroup: %w", err)
		}
	}
	m.cfg.Objects.Release(p.uid)
	return nil
}

// finish writes the final status and then deletes the object. It comes back by Remove.
func (m *Manager) finish(p *pod) {
	p.mu.Lock()
	if p.finalize {
		p.mu.Unlock()
		return
	}
	p.finalize = true
	p.mu.Unlock()
	if m.cfg.Client == nil {
		return
	}
	p.observe.Lock()
	defer p.observe.Unlock()
	p.mu.Lock()
	obj, seen := p.obj, p.seen
	p.mu.Unlock()
	m.tell(p, obj, seen, func() {
		m.wg.Add(1)
		go func() {
			defer m.wg.Done()
			m.deleteObject(p, obj)
		}()
	})
}

func (m *Manager) deleteObject(p *pod, obj *corev1.Pod) {
	zero := int64(0)
	uid := obj.UID
	for delay := firstRetry; m.ctx.Err() == nil; delay = min(2*delay, maxRetry) {
		err := m.cfg.Client.Delete(m.ctx, client.Pods.GVR, obj.Namespace, obj.Name, metav1.DeleteOptions{
			GracePeriodSeconds: &zero, Preconditions: &metav1.Preconditions{UID: &uid}})
		if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
			if err != nil { // gone already; the informer may have said so before the pod was known here
				p.remove()
				m.wake(p)
			}
			return
		}
		m.log.Info("pod not deleted", "pod", name(obj), "error", err, "retryIn", delay)
		t := time.NewTimer(delay)
		select {
		case <-m.ctx.Done():
		case <-t.C:
		}
		t.Stop()
	}
}

// forget removes what the runtime and the disk have of a pod that is gone, and the pod.
func (m *Manager) forget(ctx context.Context, p *pod) error {
	seen, err := m.cfg.CRI.Pod(ctx, p.uid)
	if err != nil {
		return err
	}
	obj := p.object()
	if err := m.removeAll(ctx, seen); err != nil {
		return err
	}
	if err := os.RemoveAll(spec.LogDir(m.cfg.LogDir, obj)); err != nil {
		return err
	}
	target := obj.UID
	if m.cfg.StatusTarget != nil {
		if t := m.cfg.StatusTarget(obj); t != nil {
			target = t.UID
		}
	}
	m.cfg.Writer.Forget(target)
	m.cfg.Objects.Release(p.uid)
	m.probes.Forget(p.uid)
	m.measures.probes.DeletePartialMatch(prometheus.Labels{"pod_uid": string(p.uid)})
	m.mu.Lock()
	if m.pods[p.uid] == p {
		delete(m.pods, p.uid)
	}
	m.mu.Unlock()
	for _, o := range m.all() { // one of the same name may be waiting
		if other := o.object(); other.Name == obj.Name && other.Namespace == obj.Namespace {
			m.wake(o)
		}
	}
	return nil
}

// removeAll removes a pod that has stopped from the runtime.
func (m *Manager) removeAll(ctx context.Context, seen *cri.Pod) error {
	var errs []error
	for _, s := range seen.Sandboxes {
		if _, err := m.cfg.CRI.Runtime.RemovePodSandbox(ctx, &rt.RemovePodSandboxRequest{PodSandboxId: s.Id}); err != nil && !cri.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("remove sandbox %s: %w", s.Id, err))
		}
	}
	for _, c := range seen.Containers {
		// Removed with their sandbox; those whose sandbox was gone before are not.
		if _, err := m.cfg.CRI.Runtime.RemoveContainer(ctx, &rt.RemoveContainerRequest{ContainerId: c.Id}); err != nil && !cri.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("remove container %s: %w", c.Id, err))
			continue
		}
		m.cfg.CRI.Forget(c.Id)
		m.unlinkLog(c)
	}
	return errors.Join(errs...)
}
