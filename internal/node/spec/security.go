package spec

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	rt "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Effective is a container's security context with the pod's where it says nothing itself. It is never nil.
func Effective(pod *corev1.Pod, c *corev1.Container) *corev1.SecurityContext {
	out := &corev1.SecurityContext{}
	if c.SecurityContext != nil {
		out = c.SecurityContext.DeepCopy()
	}
	p := pod.Spec.SecurityContext
	if p == nil {
		return out
	}
	inherit(&out.RunAsUser, p.RunAsUser)
	inherit(&out.RunAsGroup, p.RunAsGroup)
	inherit(&out.RunAsNonRoot, p.RunAsNonRoot)
	inherit(&out.SELinuxOptions, p.SELinuxOptions)
	inherit(&out.SeccompProfile, p.SeccompProfile)
	inherit(&out.AppArmorProfile, p.AppArmorProfile)
	return out
}

func inherit[T any](to **T, from *T) {
	if *to == nil {
		*to = from
	}
}

// ErrNonRoot tells that a container that must not run as root would.
var ErrNonRoot = errors.New("container has runAsNonRoot and image will run as root")

// CheckNonRoot verifies runAsNonRoot against the spec's user and the image's. uid is nil and name is not empty when the
// image names its user by name, which cannot be checked.
func CheckNonRoot(pod *corev1.Pod, c *corev1.Container, uid *int64, name string) error {
	sc := Effective(pod, c)
	if sc.RunAsNonRoot == nil || !*sc.RunAsNonRoot {
		return nil
	}
	where := fmt.Sprintf(" (pod: %q, container: %s)", pod.Name+"_"+pod.Namespace+"("+string(pod.UID)+")", c.Name)
	switch {
	case sc.RunAsUser != nil && *sc.RunAsUser == 0:
		return fmt.Errorf("container's runAsUser breaks non-root policy%s", where)
	case sc.RunAsUser != nil:
		return nil
	case uid != nil && *uid == 0 || uid == nil && name == "":
		return fmt.Errorf("%w%s", ErrNonRoot, where)
	case uid == nil:
		return fmt.Errorf("container has runAsNonRoot and image has non-numeric user (%s), cannot verify user is non-root%s", name, where)
	}
	return nil
}

// namespaces of a pod. A container without a pod-wide process namespace has its own.
func namespaces(pod *corev1.Pod, users *rt.UserNamespace) *rt.NamespaceOption {
	o := &rt.NamespaceOption{Network: rt.NamespaceMode_POD, Ipc: rt.NamespaceMode_POD, Pid: rt.NamespaceMode_CONTAINER, UsernsOptions: users}
	if pod.Spec.HostNetwork {
		o.Network = rt.NamespaceMode_NODE
	}
	if pod.Spec.HostIPC {
		o.Ipc = rt.NamespaceMode_NODE
	}
	if s := pod.Spec.ShareProcessNamespace; s != nil && *s {
		o.Pid = rt.NamespaceMode_POD
	}
	if pod.Spec.HostPID {
		o.Pid = rt.NamespaceMode_NODE
	}
	return o
}

func supplementalGroups(pod *corev1.Pod) (groups []int64, policy rt.SupplementalGroupsPolicy) {
	p := pod.Spec.SecurityContext
	if p == nil {
		return nil, rt.SupplementalGroupsPolicy_Merge
	}
	if p.FSGroup != nil {
		groups = append(groups, *p.FSGroup)
	}
	groups = append(groups, p.SupplementalGroups...)
	if p.SupplementalGroupsPolicy != nil && *p.SupplementalGroupsPolicy == corev1.SupplementalGroupsPolicyStrict {
		policy = rt.SupplementalGroupsPolicy_Strict
	}
	return groups, policy
}

func selinux(o *corev1.SELinuxOptions) *rt.SELinuxOption {
	if o == nil {
		return nil
	}
	return &rt.SELinuxOption{User: o.User, Role: o.Role, Type: o.Type, Level: o.Level}
}

func seccomp(p *corev1.SeccompProfile, n *Node) (*rt.SecurityProfile, error) {
	if p == nil {
		if n.SeccompDefault {
			return &rt.SecurityProfile{ProfileType: rt.SecurityProfile_RuntimeDefault}, nil
		}
		return &rt.SecurityProfile{ProfileType: rt.SecurityProfile_Unconfined}, nil
	}
	switch p.Type {
	case corev1.SeccompProfileTypeUnconfined:
		return &rt.SecurityProfile{ProfileType: rt.SecurityProfile_Unconfined}, nil
	case corev1.SeccompProfileTypeRuntimeDefault:
		return &rt.SecurityProfile{ProfileType: rt.SecurityProfile_RuntimeDefault}, nil
	case corev1.SeccompProfileTypeLocalhost:
		if p.LocalhostProfile == nil || *p.LocalhostProfile == "" {
			return nil, errors.New("localhostProfile must be set if seccompProfile type is Localhost")
		}
		if !filepath.IsLocal(*p.LocalhostProfile) {
			return nil, fmt.Errorf("localhostProfile %q is not below the profile directory", *p.LocalhostProfile)
		}
		return &rt.SecurityProfile{ProfileType: rt.SecurityProfile_Localhost, LocalhostRef: filepath.Join(n.SeccompDir, *p.LocalhostProfile)}, nil
	}
	return nil, fmt.Errorf("unknown seccomp profile type %q", p.Type)
}

func apparmor(p *corev1.AppArmorProfile) (*rt.SecurityProfile, error) {
	if p == nil {
		return nil, nil
	}
	switch p.Type {
	case corev1.AppArmorProfileTypeUnconfined:
		return &rt.SecurityProfile{ProfileType: rt.SecurityProfile_Unconfined}, nil
	case corev1.AppArmorProfileTypeRuntimeDefault:
		return &rt.SecurityProfile{ProfileType: rt.SecurityProfile_RuntimeDefault}, nil
	case corev1.AppArmorProfileTypeLocalhost:
		if p.LocalhostProfile == nil || *p.LocalhostProfile == "" {
			return nil, errors.New("localhostProfile must be set if appArmorProfile type is Localhost")
		}
		return &rt.SecurityProfile{ProfileType: rt.SecurityProfile_Localhost, LocalhostRef: *p.LocalhostProfile}, nil
	}
	return nil, fmt.Errorf("unknown AppArmor profile type %q", p.Type)
}

// What a container does not see or may not write of /proc and /sys, unless procMount is Unmasked.
func procPaths(sc *corev1.SecurityContext) (masked, readonly []string) {
	if sc.Privileged != nil && *sc.Privileged || sc.ProcMount != nil && *sc.ProcMount == corev1.UnmaskedProcMount {
		return nil, nil
	}
	masked = []string{"/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
		"/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap"}
	readonly = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
	return masked, readonly
}

func capabilities(c *corev1.Capabilities) *rt.Capability {
	if c == nil {
		return nil
	}
	out := &rt.Capability{}
	for _, a := range c.Add {
		out.AddCapabilities = append(out.AddCapabilities, string(a))
	}
	for _, d := range c.Drop {
		out.DropCapabilities = append(out.DropCapabilities, string(d))
	}
	return out
}

// noNewPrivs is set when privilege escalation is forbidden; a privileged container, or one with CAP_SYS_ADMIN, can always escalate.
func noNewPrivs(sc *corev1.SecurityContext) bool {
	return sc.AllowPrivilegeEscalation != nil && !*sc.AllowPrivilegeEscalation
}

func containerSecurity(in Container, n *Node) (*rt.LinuxContainerSecurityContext, error) {
	pod := in.Pod
	sc := Effective(pod, in.Container)
	out := &rt.LinuxContainerSecurityContext{
		Capabilities:     capabilities(sc.Capabilities),
		Privileged:       sc.Privileged != nil && *sc.Privileged,
		NamespaceOptions: namespaces(pod, in.Users),
		SelinuxOptions:   selinux(sc.SELinuxOptions),
		RunAsUser:        int64Value(sc.RunAsUser),
		RunAsGroup:       int64Value(sc.RunAsGroup),
		ReadonlyRootfs:   sc.ReadOnlyRootFilesystem != nil && *sc.ReadOnlyRootFilesystem,
		NoNewPrivs:       noNewPrivs(sc),
	}
	if out.RunAsUser == nil {
		out.RunAsUsername = in.Username
	}
	out.SupplementalGroups, out.SupplementalGroupsPolicy = supplementalGroups(pod)
	out.MaskedPaths, out.ReadonlyPaths = procPaths(sc)
	var err error
	if out.Seccomp, err = seccomp(sc.SeccompProfile, n); err != nil {
		return nil, err
	}
	if out.Privileged {
		out.Seccomp = &rt.SecurityProfile{ProfileType: rt.SecurityProfile_Unconfined}
	}
	out.Apparmor, err = apparmor(sc.AppArmorProfile)
	return out, err
}

// safeSysctls may be set by every pod: they are namespaced and cannot hurt others.
func safeSysctls() []string {
	return []string{"kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range",
		"net.ipv4.ip_unprivileged_port_start", "net.ipv4.ip_local_reserved_ports", "net.ipv4.tcp_keepalive_time",
		"net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"}
}

// Forbidden gives the first sysctl of a pod that this node does not allow; reason is SysctlForbidden.
func Forbidden(pod *corev1.Pod, allowed []string) (sysctl string, bad bool) {
	if pod.Spec.SecurityContext == nil {
		return "", false
	}
	patterns := append(safeSysctls(), allowed...)
	for _, s := range pod.Spec.SecurityContext.Sysctls {
		name := strings.ReplaceAll(s.Name, "/", ".")
		if !matches(patterns, name) || hostSysctl(pod, name) {
			return name, true
		}
	}
	return "", false
}

func matches(patterns []string, name string) bool {
	for _, p := range patterns {
		if prefix, ok := strings.CutSuffix(p, "*"); p == name || ok && strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// hostSysctl says whether setting it would change the host: the pod shares the namespace that it belongs to.
func hostSysctl(pod *corev1.Pod, name string) bool {
	if strings.HasPrefix(name, "net.") {
		return pod.Spec.HostNetwork
	}
	return pod.Spec.HostIPC && (strings.HasPrefix(name, "kernel.shm") || strings.HasPrefix(name, "kernel.msg") ||
		strings.HasPrefix(name, "kernel.sem") || strings.HasPrefix(name, "fs.mqueue."))
}
