package spec

import (
	"fmt"
	"path"

	corev1 "k8s.io/api/core/v1"
	rt "k8s.io/cri-api/pkg/apis/runtime/v1"

	"hyperkube/internal/node/cri"
	"hyperkube/internal/node/env"
)

// Place is where on the node a pod goes.
type Place struct {
	LogRoot      string
	CgroupParent string
	Users        *rt.UserNamespace // nil: the host's
}

// Sandbox gives the configuration of a pod's sandbox. attempt counts the sandboxes of the pod from 0.
func Sandbox(pod *corev1.Pod, attempt uint32, n *Node, at Place) (*rt.PodSandboxConfig, []Warning, error) {
	dns, warnings := DNS(pod, n)
	cfg := &rt.PodSandboxConfig{
		Metadata:    &rt.PodSandboxMetadata{Name: pod.Name, Namespace: pod.Namespace, Uid: string(pod.UID), Attempt: attempt},
		Labels:      cri.SandboxLabels(pod),
		Annotations: pod.Annotations,
		DnsConfig:   dns,
	}
	if !pod.Spec.HostNetwork {
		_, _, hostname, err := Hostname(pod, n.ClusterDomain)
		if err != nil {
			return nil, nil, err
		}
		cfg.Hostname = hostname
	}
	cfg.LogDirectory = LogDir(at.LogRoot, pod)
	cfg.PortMappings = ports(pod)
	linux, err := sandboxLinux(pod, n, at)
	cfg.Linux = linux
	return cfg, warnings, err
}

func ports(pod *corev1.Pod) []*rt.PortMapping {
	if pod.Spec.HostNetwork {
		return nil
	}
	var out []*rt.PortMapping
	add := func(c *corev1.Container) {
		for _, p := range c.Ports {
			m := &rt.PortMapping{HostIp: p.HostIP, HostPort: p.HostPort, ContainerPort: p.ContainerPort}
			switch p.Protocol {
			case corev1.ProtocolUDP:
				m.Protocol = rt.Protocol_UDP
			case corev1.ProtocolSCTP:
				m.Protocol = rt.Protocol_SCTP
			}
			if p.HostPort > 0 {
				out = append(out, m)
			}
		}
	}
	for i := range pod.Spec.InitContainers {
		if Restartable(&pod.Spec.InitContainers[i]) {
			add(&pod.Spec.InitContainers[i])
		}
	}
	for i := range pod.Spec.Containers {
		add(&pod.Spec.Containers[i])
	}
	return out
}

func sandboxLinux(pod *corev1.Pod, n *Node, at Place) (*rt.LinuxPodSandboxConfig, error) {
	sec := &rt.LinuxSandboxSecurityContext{NamespaceOptions: namespaces(pod, at.Users), Privileged: anyPrivileged(pod),
		Seccomp: &rt.SecurityProfile{ProfileType: rt.SecurityProfile_RuntimeDefault}}
	sec.SupplementalGroups, sec.SupplementalGroupsPolicy = supplementalGroups(pod)
	sysctls := map[string]string{}
	if p := pod.Spec.SecurityContext; p != nil {
		sec.RunAsUser, sec.RunAsGroup = int64Value(p.RunAsUser), int64Value(p.RunAsGroup)
		sec.SelinuxOptions = selinux(p.SELinuxOptions)
		for _, s := range p.Sysctls {
			sysctls[s.Name] = s.Value
		}
	}
	resources, overhead := podResources(pod, n)
	return &rt.LinuxPodSandboxConfig{CgroupParent: at.CgroupParent, SecurityContext: sec, Sysctls: sysctls, Resources: resources, Overhead: overhead}, nil
}

func anyPrivileged(pod *corev1.Pod) bool {
	found := false
	AllContainers(&pod.Spec, func(c *corev1.Container) {
		if sc := c.SecurityContext; sc != nil && sc.Privileged != nil && *sc.Privileged {
			found = true
		}
	})
	return found
}

// Container is what a container's configuration is made from.
type Container struct {
	Pod       *corev1.Pod
	Container *corev1.Container
	Restarts  int
	Image     *rt.ImageSpec // what to run: the image's ID
	Username  string        // the image's user by name; empty when it is a number
	Env       []env.Var
	Mounts    []*rt.Mount
	Target    string // the container whose processes an ephemeral container sees
	Users     *rt.UserNamespace
}

// ContainerConfig gives the configuration of a container.
func ContainerConfig(in Container, n *Node) (*rt.ContainerConfig, error) {
	c := in.Container
	vars := make(map[string]string, len(in.Env))
	cfg := &rt.ContainerConfig{
		Metadata:    &rt.ContainerMetadata{Name: c.Name, Attempt: uint32(in.Restarts)},
		Image:       in.Image,
		WorkingDir:  c.WorkingDir,
		Mounts:      in.Mounts,
		Labels:      cri.ContainerLabels(in.Pod, c.Name),
		Annotations: cri.ContainerAnnotations(in.Pod, c, in.Restarts),
		LogPath:     LogPath(c.Name, in.Restarts),
		Stdin:       c.Stdin, StdinOnce: c.StdinOnce, Tty: c.TTY,
	}
	for _, v := range in.Env {
		vars[v.Name] = v.Value
		cfg.Envs = append(cfg.Envs, &rt.KeyValue{Key: v.Name, Value: []byte(v.Value)})
	}
	for _, s := range c.Command {
		cfg.Command = append(cfg.Command, env.Expand(s, env.Lookup(vars)))
	}
	for _, s := range c.Args {
		cfg.Args = append(cfg.Args, env.Expand(s, env.Lookup(vars)))
	}
	if c.WorkingDir != "" && !path.IsAbs(c.WorkingDir) {
		cfg.WorkingDir = path.Join("/", c.WorkingDir)
	}
	if c.Lifecycle != nil && c.Lifecycle.StopSignal != nil {
		sig, ok := rt.Signal_value["SIGNAL_"+string(*c.Lifecycle.StopSignal)]
		if !ok {
			return nil, fmt.Errorf("unknown stop signal %q", *c.Lifecycle.StopSignal)
		}
		cfg.StopSignal = rt.Signal(sig)
	}
	sec, err := containerSecurity(in, n)
	if err != nil {
		return nil, err
	}
	if in.Target != "" {
		sec.NamespaceOptions.Pid, sec.NamespaceOptions.TargetId = rt.NamespaceMode_TARGET, in.Target
	}
	mapUsers(cfg.Mounts, in.Users)
	cfg.Linux = &rt.LinuxContainerConfig{Resources: Resources(in.Pod, c, n), SecurityContext: sec}
	return cfg, nil
}

// mapUsers makes the owners of mounted files appear in the container's user namespace as they are on the host.
func mapUsers(mounts []*rt.Mount, u *rt.UserNamespace) {
	if u == nil {
		return
	}
	for _, m := range mounts {
		if m.Image == nil {
			m.UidMappings, m.GidMappings = u.Uids, u.Gids
		}
	}
}
