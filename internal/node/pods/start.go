package pods

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	nodev1 "k8s.io/api/node/v1"

	corev1 "k8s.io/api/core/v1"
	rt "k8s.io/cri-api/pkg/apis/runtime/v1"

	"hyperkube/internal/client"
	"hyperkube/internal/node/cri"
	"hyperkube/internal/node/downward"
	"hyperkube/internal/node/env"
	"hyperkube/internal/node/hook"
	"hyperkube/internal/node/plan"
	"hyperkube/internal/node/spec"
	"hyperkube/internal/node/status"
)

// createSandbox makes a pod's sandbox: its namespaces and its network.
func (m *Manager) createSandbox(ctx context.Context, obj *corev1.Pod, attempt uint32) error {
	err := m.tryCreateSandbox(ctx, obj, attempt)
	if err != nil && ctx.Err() == nil {
		m.event(obj, "", corev1.EventTypeWarning, "FailedCreatePodSandBox", "Failed to create pod sandbox: "+err.Error())
		err = fmt.Errorf("create sandbox: %w", err)
	}
	return err
}

func (m *Manager) tryCreateSandbox(ctx context.Context, obj *corev1.Pod, attempt uint32) error {
	at, err := m.place(obj)
	if err != nil {
		return err
	}
	handler, err := m.handler(ctx, obj)
	if err != nil {
		return err
	}
	cfg, warnings, err := spec.Sandbox(obj, attempt, m.cfg.Node, at)
	if err != nil {
		return err
	}
	for _, w := range warnings {
		m.event(obj, "", corev1.EventTypeWarning, w.Reason, w.Message)
	}
	if err := os.MkdirAll(cfg.LogDirectory, 0o755); err != nil {
		return err
	}
	if err := m.slot(ctx); err != nil {
		return err
	}
	defer m.freeSlot()
	_, err = m.cfg.CRI.Runtime.RunPodSandbox(ctx, &rt.RunPodSandboxRequest{Config: cfg, RuntimeHandler: handler})
	return err
}

func (m *Manager) slot(ctx context.Context) error {
	select {
	case m.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (m *Manager) freeSlot() { <-m.slots }

// handler is the runtime's name for the pod's runtime class; empty is the default.
func (m *Manager) handler(ctx context.Context, obj *corev1.Pod) (string, error) {
	class := obj.Spec.RuntimeClassName
	if class == nil || *class == "" {
		return "", nil
	}
	if m.cfg.Client == nil {
		return "", fmt.Errorf("RuntimeClass %q: this node runs without an API server", *class)
	}
	var rc *nodev1.RuntimeClass
	rc, err := client.RuntimeClasses.Get(ctx, m.cfg.Client, "", *class)
	if err != nil {
		return "", fmt.Errorf("failed to get RuntimeClass %q: %w", *class, err)
	}
	return rc.Handler, nil
}

// startContainer gets a container's image, makes and starts it, and runs its postStart hook. Why it failed is in its waiting state.
func (m *Manager) startContainer(ctx context.Context, p *pod, obj *corev1.Pod, seen *cri.Pod, c *corev1.Container) error {
	w := m.tryStart(ctx, p, obj, seen, c)
	p.mu.Lock()
	defer p.mu.Unlock()
	if w == nil {
		delete(p.waiting, c.Name)
		return nil
	}
	if ctx.Err() == nil {
		p.waiting[c.Name] = corev1.ContainerStateWaiting{Reason: w.Reason, Message: w.Message}
	}
	return w
}

func (m *Manager) tryStart(ctx context.Context, p *pod, obj *corev1.Pod, seen *cri.Pod, c *corev1.Container) *Waiting {
	fail := func(reason string, err error) *Waiting { return m.failed(ctx, obj, c.Name, reason, err) }
	image, err := m.image(ctx, obj, c)
	if err != nil {
		var w *Waiting
		if errors.As(err, &w) {
			return w
		}
		return fail("ErrImagePull", err)
	}
	restarts := nextRestart(seen, obj, c.Name)
	last := seen.Newest(c.Name)
	at, err := m.place(obj)
	if err != nil {
		return fail("CreateContainerConfigError", err)
	}
	cfg, err := m.containerConfig(ctx, obj, seen, c, image, restarts, at.Users)
	if err != nil {
		return fail("CreateContainerConfigError", err)
	}
	sandbox := seen.ReadySandbox()
	sandboxCfg, _, err := spec.Sandbox(obj, sandbox.GetMetadata().GetAttempt(), m.cfg.Node, at)
	if err != nil {
		return fail("CreateContainerConfigError", err)
	}
	if err := os.MkdirAll(filepath.Join(sandboxCfg.LogDirectory, c.Name), 0o755); err != nil {
		return fail("CreateContainerConfigError", err)
	}
	id, w := m.makeAndStart(ctx, p, obj, c, last, &rt.CreateContainerRequest{PodSandboxId: sandbox.Id, Config: cfg, SandboxConfig: sandboxCfg})
	if w != nil {
		return w
	}
	m.linkLog(obj, c.Name, id, filepath.Join(sandboxCfg.LogDirectory, cfg.LogPath))
	return m.postStart(ctx, p, obj, c, id)
}

// failed tells of a container that could not be started.
func (m *Manager) failed(ctx context.Context, obj *corev1.Pod, container, reason string, err error) *Waiting {
	if ctx.Err() == nil {
		m.event(obj, container, corev1.EventTypeWarning, "Failed", "Error: "+err.Error())
	}
	m.measures.failed.WithLabelValues(containerType(&obj.Spec, container), reason).Inc()
	return &Waiting{reason, err.Error()}
}

func (m *Manager) makeAndStart(ctx context.Context, p *pod, obj *corev1.Pod, c *corev1.Container, last *cri.Container, req *rt.CreateContainerRequest) (id string, w *Waiting) {
	if err := m.slot(ctx); err != nil {
		return "", &Waiting{"ContainerCreating", err.Error()}
	}
	defer m.freeSlot()
	made, err := m.cfg.CRI.Runtime.CreateContainer(ctx, req)
	if err != nil {
		return "", m.failed(ctx, obj, c.Name, "CreateContainerError", err)
	}
	m.event(obj, c.Name, corev1.EventTypeNormal, "Created", "Container created")
	if c.Lifecycle != nil && c.Lifecycle.PostStart != nil {
		p.setStarting(made.ContainerId)
	}
	if last != nil && last.Exited() {
		p.backoff.Started(c.Name, time.Unix(0, last.FinishedAt))
	}
	if _, err := m.cfg.CRI.Runtime.StartContainer(ctx, &rt.StartContainerRequest{ContainerId: made.ContainerId}); err != nil {
		return "", m.failed(ctx, obj, c.Name, "RunContainerError", err)
	}
	m.event(obj, c.Name, corev1.EventTypeNormal, "Started", "Container started")
	m.measures.started.WithLabelValues(containerType(&obj.Spec, c.Name)).Inc()
	return made.ContainerId, nil
}

// place makes the pod's cgroup and finds its users.
func (m *Manager) place(obj *corev1.Pod) (spec.Place, error) {
	at := spec.Place{LogRoot: m.cfg.LogDir}
	var err error
	if m.cfg.Cgroups != nil {
		if at.CgroupParent, err = m.cfg.Cgroups.Ensure(obj); err != nil {
			return at, fmt.Errorf("cgroup of the pod: %w", err)
		}
	}
	if h := obj.Spec.HostUsers; h != nil && !*h {
		at.Users, err = m.cfg.Users.Get(obj.UID)
	}
	return at, err
}

func (m *Manager) image(ctx context.Context, obj *corev1.Pod, c *corev1.Container) (string, error) {
	handler, err := m.handler(ctx, obj)
	if err != nil {
		return "", err
	}
	return m.cfg.Images.EnsureImage(ctx, obj, c.Name, c.Image, c.ImagePullPolicy, handler)
}

// nextRestart counts on from the container before, or from what the API says of one that the runtime lost.
func nextRestart(seen *cri.Pod, obj *corev1.Pod, name string) int {
	if c := seen.Newest(name); c != nil {
		return c.RestartCount() + 1
	}
	for _, l := range [][]corev1.ContainerStatus{obj.Status.ContainerStatuses, obj.Status.InitContainerStatuses} {
		for i := range l {
			if l[i].Name == name && l[i].ContainerID != "" {
				return int(l[i].RestartCount) + 1
			}
		}
	}
	return 0
}

// imageUser is whom the image runs as.
func (m *Manager) imageUser(ctx context.Context, image string) (uid *int64, username string, err error) {
	resp, err := m.cfg.CRI.Images.ImageStatus(ctx, &rt.ImageStatusRequest{Image: &rt.ImageSpec{Image: image}})
	if err != nil {
		return nil, "", err
	}
	if resp.Image == nil {
		return nil, "", fmt.Errorf("image %q is not present", image)
	}
	if u := resp.Image.Uid; u != nil {
		return &u.Value, "", nil
	}
	return nil, resp.Image.Username, nil
}

func (m *Manager) containerConfig(ctx context.Context, obj *corev1.Pod, seen *cri.Pod, c *corev1.Container, image string, restarts int, users *rt.UserNamespace) (*rt.ContainerConfig, error) {
	uid, username, err := m.imageUser(ctx, image)
	if err != nil {
		return nil, err
	}
	if err := spec.CheckNonRoot(obj, c, uid, username); err != nil {
		return nil, err
	}
	vars, err := m.env(ctx, obj, seen, c)
	if err != nil {
		return nil, err
	}
	byName := make(map[string]string, len(vars))
	for _, v := range vars {
		byName[v.Name] = v.Value
	}
	images, err := m.imageVolumes(ctx, obj, c)
	if err != nil {
		return nil, err
	}
	mounts, err := m.cfg.Volumes.Mounts(obj, c, byName, images)
	if err != nil {
		return nil, err
	}
	if mounts, err = m.ownMounts(obj, seen, c, restarts, mounts); err != nil {
		return nil, err
	}
	in := spec.Container{Pod: obj, Container: c, Restarts: restarts, Env: vars, Mounts: mounts, Username: username,
		Image: &rt.ImageSpec{Image: image, UserSpecifiedImage: c.Image}, Target: target(obj, seen, c.Name), Users: users}
	return spec.ContainerConfig(in, m.cfg.Node)
}

// target is the running container whose processes an ephemeral container wants to see.
func target(obj *corev1.Pod, seen *cri.Pod, name string) string {
	for i := range obj.Spec.EphemeralContainers {
		if e := &obj.Spec.EphemeralContainers[i]; e.Name == name && e.TargetContainerName != "" {
			if t := seen.Newest(e.TargetContainerName); t != nil && t.Running() {
				return t.Id
			}
		}
	}
	return ""
}

func (m *Manager) env(ctx context.Context, obj *corev1.Pod, seen *cri.Pod, c *corev1.Container) ([]env.Var, error) {
	var services map[string]string
	if m.cfg.Services != nil {
		if err := m.cfg.ServicesReady(ctx); err != nil {
			return nil, fmt.Errorf("services have not yet been read at least once, cannot construct envvars: %w", err)
		}
		services = env.Services(obj, m.cfg.Services())
	}
	return env.Build(env.Inputs{
		Pod: obj, Container: c, Objects: m.cfg.Objects, Services: services, Facts: m.facts(obj, seen),
		File: func(volume, path string) ([]byte, error) { return m.cfg.Volumes.ReadFile(obj, volume, path) },
	})
}

func (m *Manager) facts(obj *corev1.Pod, seen *cri.Pod) downward.Facts {
	hosts := m.cfg.HostIPs()
	return downward.Facts{PodIPs: status.PodIPs(obj, seen, hosts), HostIPs: hosts, Allocatable: m.cfg.Node.Allocatable}
}

// imageVolumes gets the images that a container mounts as volumes.
func (m *Manager) imageVolumes(ctx context.Context, obj *corev1.Pod, c *corev1.Container) (map[string]*rt.ImageSpec, error) {
	out := map[string]*rt.ImageSpec{}
	for i := range obj.Spec.Volumes {
		v := &obj.Spec.Volumes[i]
		if v.Image == nil || !mountsVolume(c, v.Name) {
			continue
		}
		ref, err := m.cfg.Images.EnsureImage(ctx, obj, c.Name, v.Image.Reference, v.Image.PullPolicy, "")
		if err != nil {
			return nil, fmt.Errorf("image volume %q: %w", v.Name, err)
		}
		out[v.Name] = &rt.ImageSpec{Image: ref, UserSpecifiedImage: v.Image.Reference}
	}
	return out, nil
}

func mountsVolume(c *corev1.Container, volume string) bool {
	for _, m := range c.VolumeMounts {
		if m.Name == volume {
			return true
		}
	}
	return false
}

// ownMounts adds the mounts that every container gets: /etc/hosts and the termination message.
func (m *Manager) ownMounts(obj *corev1.Pod, seen *cri.Pod, c *corev1.Container, restarts int, mounts []*rt.Mount) ([]*rt.Mount, error) {
	at := map[string]bool{}
	for _, mt := range mounts {
		at[filepath.Clean(mt.ContainerPath)] = true
	}
	if !at["/etc/hosts"] && !at["/etc"] {
		path, err := m.writeHosts(obj, seen)
		if err != nil {
			return nil, err
		}
		ro := c.SecurityContext != nil && c.SecurityContext.ReadOnlyRootFilesystem != nil && *c.SecurityContext.ReadOnlyRootFilesystem
		mounts = append(mounts, &rt.Mount{ContainerPath: "/etc/hosts", HostPath: path, Readonly: ro, SelinuxRelabel: true})
	}
	if c.TerminationMessagePath != "" {
		path, err := m.cfg.Volumes.TerminationMessage(obj, c.Name, restarts)
		if err != nil {
			return nil, err
		}
		mounts = append(mounts, &rt.Mount{ContainerPath: c.TerminationMessagePath, HostPath: path, SelinuxRelabel: true})
	}
	return mounts, nil
}

func (m *Manager) writeHosts(obj *corev1.Pod, seen *cri.Pod) (string, error) {
	var own []byte
	if obj.Spec.HostNetwork {
		var err error
		if own, err = spec.ReadHosts(); err != nil {
			return "", err
		}
	}
	text, err := spec.Hosts(obj, status.PodIPs(obj, seen, m.cfg.HostIPs()), m.cfg.Node.ClusterDomain, own)
	if err != nil {
		return "", err
	}
	path := filepath.Join(m.cfg.Volumes.PodDir(obj.UID), "etc-hosts")
	if err := os.WriteFile(path, text, 0o644); err != nil {
		return "", err
	}
	return path, os.Chmod(path, 0o644)
}

// postStart runs a container's hook. One that fails ends the container, which then starts again as its policy says.
func (m *Manager) postStart(ctx context.Context, p *pod, obj *corev1.Pod, c *corev1.Container, id string) *Waiting {
	if c.Lifecycle == nil || c.Lifecycle.PostStart == nil {
		return nil
	}
	defer p.setStarting("")
	ip := ""
	if seen, err := m.look(ctx, p); err == nil {
		if ips := status.PodIPs(obj, seen, m.cfg.HostIPs()); len(ips) > 0 {
			ip = ips[0]
		}
	}
	err := hook.Run(ctx, c.Lifecycle.PostStart, id, c.Ports, ip, m.Exec)
	if err == nil || ctx.Err() != nil {
		return nil
	}
	m.event(obj, c.Name, corev1.EventTypeWarning, "FailedPostStartHook", "PostStartHook failed")
	m.log.Info("postStart hook failed", "pod", name(obj), "container", c.Name, "error", err)
	if seen, lookErr := m.cfg.CRI.Pod(ctx, p.uid); lookErr == nil {
		if st := seen.Newest(c.Name); st != nil && st.Id == id && st.Running() {
			err = errors.Join(err, m.killOne(ctx, p, obj, plan.Kill{Container: st, Message: "FailedPostStartHook"}))
		}
	}
	return &Waiting{"PostStartHookError", "PostStartHook failed: " + err.Error()}
}
