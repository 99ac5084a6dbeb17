// Package kubelet is the role that runs a node's pods: flags and configuration file in, a running internal/node out.
package kubelet

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"
	"k8s.io/utils/ptr"

	"hyperkube/internal/client"
	"hyperkube/internal/node/cri"
	"hyperkube/internal/node/eviction"
	"hyperkube/internal/node/nodestatus"
	"hyperkube/internal/node/volume"
)

// Config of the role. [Defaults] gives one that is good but for the API server and the runtime.
type Config struct {
	// Client is the API under the node's identity. Without one, Kubeconfig says how to reach it; without
	// both, only static pods are run.
	Client              client.Interface
	Kubeconfig          string
	BootstrapKubeconfig string
	CertDir             string // /var/lib/kubelet/pki

	// CRI is the runtime. Without one, Settings.ContainerRuntimeEndpoint is dialled.
	CRI *cri.Client
	// Claims mounts persistent volume claims. Optional.
	Claims volume.Claims

	HostnameOverride string
	NodeIPs          []string // found by the default route if empty
	Labels           map[string]string
	RootDir          string // /var/lib/kubelet
	ContainerLogsDir string // /var/log/containers; empty makes no links
	Version          string

	// Settings are those of the configuration file, defaulted.
	Settings kubeletv1beta1.KubeletConfiguration

	gates map[string]string // as --feature-gates has them
	file  bool              // Settings come from a file
}

// cloud makes a node wait for a cloud's manager.
func (c *Config) cloud(provider string) error {
	switch provider {
	case "":
		return nil
	case "external":
		c.Settings.RegisterWithTaints = append(c.Settings.RegisterWithTaints,
			corev1.Taint{Key: "node.cloudprovider.kubernetes.io/uninitialized", Value: "true", Effect: corev1.TaintEffectNoSchedule})
		return nil
	}
	return fmt.Errorf("--cloud-provider: %q is not known; clouds are run by managers of their own: external", provider)
}

// Defaults are upstream's, but that cgroup v1 is not refused.
func Defaults() Config {
	s := kubeletv1beta1.KubeletConfiguration{TypeMeta: metav1.TypeMeta{APIVersion: "kubelet.config.k8s.io/v1beta1", Kind: "KubeletConfiguration"}}
	setDefaults(&s)
	return Config{RootDir: "/var/lib/kubelet", CertDir: "/var/lib/kubelet/pki", ContainerLogsDir: "/var/log/containers", Settings: s}
}

// setDefaults fills in what a configuration file leaves out.
func setDefaults(s *kubeletv1beta1.KubeletConfiguration) {
	def(&s.EnableServer, ptr.To(true))
	def(&s.PodLogsDir, "/var/log/pods")
	def(&s.Port, int32(10250))
	def(&s.Address, "0.0.0.0")
	def(&s.HealthzPort, ptr.To(int32(10248)))
	def(&s.HealthzBindAddress, "127.0.0.1")
	def(&s.ClusterDomain, "cluster.local")
	def(&s.MaxPods, int32(110))
	def(&s.ResolverConfig, ptr.To("/etc/resolv.conf"))
	def(&s.CgroupsPerQOS, ptr.To(true))
	def(&s.CgroupDriver, "cgroupfs")
	def(&s.CPUCFSQuota, ptr.To(true))
	def(&s.CPUCFSQuotaPeriod, &metav1.Duration{Duration: 100 * time.Millisecond})
	def(&s.FailSwapOn, ptr.To(true))
	def(&s.FailCgroupV1, ptr.To(false))
	def(&s.ContainerLogMaxSize, "10Mi")
	def(&s.ContainerLogMaxFiles, ptr.To(int32(5)))
	def(&s.ContainerLogMonitorInterval, &metav1.Duration{Duration: 10 * time.Second})
	def(&s.NodeLeaseDurationSeconds, int32(40))
	def(&s.NodeStatusReportFrequency, metav1.Duration{Duration: 5 * time.Minute})
	def(&s.NodeStatusMaxImages, ptr.To(int32(50)))
	def(&s.ImageGCHighThresholdPercent, ptr.To(int32(85)))
	def(&s.ImageGCLowThresholdPercent, ptr.To(int32(80)))
	def(&s.ImageMinimumGCAge, metav1.Duration{Duration: 2 * time.Minute})
	def(&s.SerializeImagePulls, ptr.To(false))
	def(&s.RegisterNode, ptr.To(true))
	def(&s.EnableDebuggingHandlers, ptr.To(true))
	def(&s.EnableSystemLogHandler, ptr.To(true))
	def(&s.EnforceNodeAllocatable, []string{"pods"})
	def(&s.ContainerRuntimeEndpoint, "unix:///run/containerd/containerd.sock")
	def(&s.Authentication.Webhook.Enabled, ptr.To(true))
	def(&s.Authentication.Anonymous.Enabled, ptr.To(false))
	def(&s.Authorization.Mode, kubeletv1beta1.KubeletAuthorizationModeWebhook)
	def(&s.PodPidsLimit, ptr.To(int64(-1)))
}

// def sets a field that has its zero value.
func def[T any](field *T, value T) {
	if isZero(*field) {
		*field = value
	}
}

func isZero(v any) bool {
	switch t := v.(type) {
	case string:
		return t == ""
	case int32:
		return t == 0
	case []string:
		return t == nil
	case metav1.Duration:
		return t.Duration == 0
	case *metav1.Duration:
		return t == nil
	case *bool:
		return t == nil
	case *int32:
		return t == nil
	case *int64:
		return t == nil
	case *string:
		return t == nil
	case kubeletv1beta1.KubeletAuthorizationMode:
		return t == ""
	}
	return false
}

// supported refuses what the configuration API has and this kubelet does not do, rather than ignoring it.
func supported(s *kubeletv1beta1.KubeletConfiguration) error {
	only := func(name, got string, allowed ...string) error {
		if got == "" || slices.Contains(allowed, got) {
			return nil
		}
		return fmt.Errorf("%s: %q is not supported, only %s", name, got, strings.Join(allowed, ", "))
	}
	not := func(name string, set bool) error {
		if set {
			return fmt.Errorf("%s is not supported", name)
		}
		return nil
	}
	for name := range s.FeatureGates {
		slog.Default().Warn("feature gates have no effect", "component", "kubelet", "gate", name)
	}
	return errors.Join(
		only("cgroupDriver", s.CgroupDriver, "cgroupfs"),
		only("cpuManagerPolicy", s.CPUManagerPolicy, "none"),
		only("memoryManagerPolicy", s.MemoryManagerPolicy, kubeletv1beta1.NoneMemoryManagerPolicy),
		only("topologyManagerPolicy", s.TopologyManagerPolicy, kubeletv1beta1.NoneTopologyManagerPolicy),
		only("memorySwap.swapBehavior", s.MemorySwap.SwapBehavior, "NoSwap"),
		not("staticPodURL", s.StaticPodURL != ""),
		not("runOnce", s.RunOnce),
		not("podCIDR", s.PodCIDR != ""),
		not("reservedSystemCPUs", s.ReservedSystemCPUs != ""),
		not("shutdownGracePeriod", s.ShutdownGracePeriod.Duration != 0 || len(s.ShutdownGracePeriodByPodPriority) > 0),
		not("tracing", s.Tracing != nil),
	)
}

func resources(m map[string]string) (corev1.ResourceList, error) {
	out := corev1.ResourceList{}
	for k, v := range m {
		q, err := resource.ParseQuantity(v)
		if err != nil {
			return nil, fmt.Errorf("%s=%s: %w", k, v, err)
		}
		out[corev1.ResourceName(k)] = q
	}
	return out, nil
}

// thresholds reads evictionHard or evictionSoft: quantities or percentages by signal.
func thresholds(field string, m map[string]string) (t nodestatus.Thresholds, err error) {
	for signal, v := range m {
		var one nodestatus.Threshold
		if s, isPart := strings.CutSuffix(v, "%"); isPart {
			n, err := strconv.ParseFloat(s, 64)
			if err != nil || n < 0 || n > 100 {
				return t, fmt.Errorf("%s %s: %q is not a percentage", field, signal, v)
			}
			one.Part = n / 100
		} else {
			q, err := resource.ParseQuantity(v)
			if err != nil || q.Sign() < 0 {
				return t, fmt.Errorf("%s %s: %q is neither a quantity nor a percentage", field, signal, v)
			}
			one.Amount = q.Value()
		}
		switch signal {
		case "memory.available":
			t.Memory = one
		case "nodefs.available":
			t.Disk = one
		case "nodefs.inodesFree":
			t.Inodes = one
		case "pid.available":
			t.PIDs = one
		case "imagefs.available", "imagefs.inodesFree", "containerfs.available", "containerfs.inodesFree":
			// images are collected by their own thresholds
		default:
			return t, fmt.Errorf("%s: unknown signal %q", field, signal)
		}
	}
	return t, nil
}

// softEviction reads evictionSoft with its grace periods.
func softEviction(s *kubeletv1beta1.KubeletConfiguration) (out eviction.Soft, err error) {
	if out.Thresholds, err = thresholds("evictionSoft", s.EvictionSoft); err != nil {
		return out, err
	}
	out.MaxGrace, out.After = int64(s.EvictionMaxPodGracePeriod), map[corev1.ResourceName]time.Duration{}
	names := map[string]corev1.ResourceName{"memory.available": corev1.ResourceMemory, "nodefs.available": corev1.ResourceEphemeralStorage,
		"nodefs.inodesFree": nodestatus.Inodes, "pid.available": nodestatus.PIDs}
	for signal := range s.EvictionSoft {
		text, ok := s.EvictionSoftGracePeriod[signal]
		if !ok {
			return out, fmt.Errorf("evictionSoftGracePeriod: there is none for %s", signal)
		}
		d, err := time.ParseDuration(text)
		if err != nil || d < 0 {
			return out, fmt.Errorf("evictionSoftGracePeriod %s: %q is not a duration", signal, text)
		}
		if n, ok := names[signal]; ok {
			out.After[n] = d
		}
	}
	return out, nil
}

// Taints reads key=value:effect,….
func parseTaints(list []string) ([]corev1.Taint, error) {
	var out []corev1.Taint
	for _, s := range list {
		kv, effect, ok := strings.Cut(s, ":")
		key, value, _ := strings.Cut(kv, "=")
		switch e := corev1.TaintEffect(effect); {
		case !ok || key == "":
			return nil, fmt.Errorf("taint %q is not of the form key=value:effect", s)
		case e != corev1.TaintEffectNoSchedule && e != corev1.TaintEffectPreferNoSchedule && e != corev1.TaintEffectNoExecute:
			return nil, fmt.Errorf("taint %q: unknown effect %q", s, effect)
		default:
			out = append(out, corev1.Taint{Key: key, Value: value, Effect: e})
		}
	}
	return out, nil
}

func parsePairs(flag string, list []string) (map[string]string, error) {
	out := map[string]string{}
	for _, s := range list {
		k, v, ok := strings.Cut(s, "=")
		if !ok || k == "" {
			return nil, fmt.Errorf("--%s: %q is not of the form key=value", flag, s)
		}
		out[k] = v
	}
	return out, nil
}

func parseIPs(list []string) ([]net.IP, error) {
	var out []net.IP
	for _, s := range list {
		ip := net.ParseIP(s)
		if ip == nil {
			return nil, fmt.Errorf("%q is not an IP address", s)
		}
		out = append(out, ip)
	}
	return out, nil
}
