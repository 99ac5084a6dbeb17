package pods

import (
	"context"
	"io"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	rt "k8s.io/cri-api/pkg/apis/runtime/v1"

	"hyperkube/internal/node/cri"
	"hyperkube/internal/node/logs"
	"hyperkube/internal/node/spec"
	"hyperkube/internal/node/status"
)

// look reads what the runtime has of a pod, brings its probes in line with it and tells its status.
func (m *Manager) look(ctx context.Context, p *pod) (*cri.Pod, error) {
	p.observe.Lock()
	defer p.observe.Unlock()
	seen, err := m.cfg.CRI.Pod(ctx, p.uid)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	obj, st := p.obj, p.stage
	p.seen = seen
	p.mu.Unlock()
	ip := ""
	if ips := status.PodIPs(obj, seen, m.cfg.HostIPs()); len(ips) > 0 {
		ip = ips[0]
	}
	m.probes.Sync(obj, seen, ip, p.isStarting, st != syncing)
	m.tell(p, obj, seen)
	return seen, nil
}

// tell makes the status and hands it on. p.observe is held.
func (m *Manager) tell(p *pod, obj *corev1.Pod, seen *cri.Pod, done ...func()) {
	p.mu.Lock()
	in := status.Input{
		Pod: obj, Old: p.status, Seen: seen, Now: m.cfg.Now(),
		HostIPs: m.cfg.HostIPs(), Started: m.probes.Started, Ready: m.probes.Ready,
		Waiting: map[string]corev1.ContainerStateWaiting{}, Over: p.over,
	}
	if in.Old == nil {
		in.Old = obj.Status.DeepCopy()
	}
	in.Resize = p.resizeConditions()
	for k, v := range p.waiting {
		if c := seen.Newest(k); c == nil || !c.Running() {
			in.Waiting[k] = v
		}
	}
	if f := p.failure; f != nil {
		in.Failed, in.Reason, in.Text, in.Disrupted = true, f.reason, f.message, f.disrupted
	}
	p.mu.Unlock()
	in.RuntimeName = m.runtimeName()
	in.Resources = func(c *corev1.Container, st *cri.Container) *corev1.ResourceRequirements {
		if !st.Running() {
			return nil
		}
		return spec.Actual(obj, c, st.GetResources().GetLinux(), m.cfg.Node)
	}
	in.Message = func(c *cri.Container) string { return m.message(p, c) }
	s := status.Generate(in)
	p.mu.Lock()
	p.status = s
	p.mu.Unlock()
	target := obj
	if m.cfg.StatusTarget != nil {
		if target = m.cfg.StatusTarget(obj); target == nil {
			for _, f := range done {
				f()
			}
			return
		}
	}
	m.cfg.Writer.Set(target, s, done...)
}

// Bounds of a termination message (API doc of terminationMessagePath).
const (
	maxMessage      = 4096
	maxMessageLog   = 2048
	maxMessageLines = 80
)

// message is what a container that ended left as its termination message.
func (m *Manager) message(p *pod, c *cri.Container) string {
	p.mu.Lock()
	text, known := p.messages[c.Id]
	p.mu.Unlock()
	if known {
		return text
	}
	text = readMessage(c)
	p.mu.Lock()
	p.messages[c.Id] = text
	p.mu.Unlock()
	return text
}

func readMessage(c *cri.Container) string {
	text := ""
	if path := c.MessagePath(); path != "" {
		for _, mount := range c.Mounts {
			if mount.ContainerPath == path {
				text = readAtMost(mount.HostPath, maxMessage)
			}
		}
	}
	if text == "" && c.ExitCode != 0 && c.MessagePolicy() == corev1.TerminationMessageFallbackToLogsOnError {
		text, _ = logs.Last(c.LogPath, maxMessageLines, maxMessageLog) // no log, no message
	}
	return text
}

func readAtMost(path string, n int64) string {
	f, err := os.Open(path)
	if err != nil {
		return "" // the container never started, or removed it
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, n))
	if err != nil {
		return ""
	}
	return string(data)
}

// linkLog makes the link by which log collectors find a container: <pod>_<namespace>_<container>-<id>.log.
func (m *Manager) linkLog(obj *corev1.Pod, container, id, logPath string) {
	if m.cfg.ContainerLogsDir == "" {
		return
	}
	if err := os.MkdirAll(m.cfg.ContainerLogsDir, 0o755); err == nil {
		err = os.Symlink(logPath, linkPath(m.cfg.ContainerLogsDir, obj.Name, obj.Namespace, container, id))
		if err == nil || os.IsExist(err) {
			return
		}
		m.log.Warn("log link not made", "container", id, "error", err)
	}
}

func linkPath(dir, pod, namespace, container, id string) string {
	return filepath.Join(dir, pod+"_"+namespace+"_"+container+"-"+id+".log")
}

func (m *Manager) unlinkLog(c *cri.Container) {
	if m.cfg.ContainerLogsDir == "" {
		return
	}
	l := c.Labels
	path := linkPath(m.cfg.ContainerLogsDir, l["io.kubernetes.pod.name"], l["io.kubernetes.pod.namespace"], c.Name, c.Id)
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		m.log.Warn("log link not removed", "path", path, "error", err)
	}
}

// RunningLogs are the log files of the running containers, by container ID.
func (m *Manager) RunningLogs() map[string]string {
	out := map[string]string{}
	for _, p := range m.all() {
		p.mu.Lock()
		for _, c := range p.seen.Running() {
			if c.LogPath != "" {
				out[c.Id] = c.LogPath
			}
		}
		p.mu.Unlock()
	}
	return out
}

// ReopenLog has the runtime write a container's log to a new file.
func (m *Manager) ReopenLog(ctx context.Context, containerID string) error {
	_, err := m.cfg.CRI.Runtime.ReopenContainerLog(ctx, &rt.ReopenContainerLogRequest{ContainerId: containerID})
	return err
}
