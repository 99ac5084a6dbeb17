package kubelet

import (
	"log/slog"
	"reflect"
	"strings"

	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"
)

// effective are the fields of the configuration file that this kubelet acts on, or refuses.
var effective = strings.Fields(`
	enableServer staticPodPath podLogsDir address port readOnlyPort tlsCertFile tlsPrivateKeyFile tlsCipherSuites tlsMinVersion rotateCertificates
	serverTLSBootstrap authentication authorization enableDebuggingHandlers healthzPort healthzBindAddress clusterDomain clusterDNS
	nodeStatusReportFrequency nodeLeaseDurationSeconds imageMinimumGCAge imageMaximumGCAge imageGCHighThresholdPercent imageGCLowThresholdPercent
	cgroupRoot cgroupsPerQOS cgroupDriver cpuManagerPolicy memoryManagerPolicy topologyManagerPolicy maxPods podPidsLimit resolvConf cpuCFSQuota
	cpuCFSQuotaPeriod nodeStatusMaxImages evictionHard podsPerCore serializeImagePulls maxParallelImagePulls featureGates failSwapOn failCgroupV1
	memorySwap containerLogMaxSize containerLogMaxFiles containerLogMonitorInterval systemReserved kubeReserved enforceNodeAllocatable
	allowedUnsafeSysctls logging enableSystemLogHandler seccompDefault registerWithTaints registerNode providerID crashLoopBackOff
	containerRuntimeEndpoint imageServiceEndpoint oomScoreAdj
	staticPodURL runOnce podCIDR reservedSystemCPUs shutdownGracePeriod shutdownGracePeriodByPodPriority tracing
	evictionSoft evictionSoftGracePeriod evictionMaxPodGracePeriod evictionPressureTransitionPeriod`)

// ineffective lists the fields that a configuration sets in vain: what they tune is not there, or cannot be otherwise.
func ineffective(s *kubeletv1beta1.KubeletConfiguration) []string {
	acts := map[string]bool{}
	for _, f := range effective {
		acts[f] = true
	}
	var out []string
	v := reflect.ValueOf(s).Elem()
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		if name != "" && !acts[name] && !v.Field(i).IsZero() {
			out = append(out, name)
		}
	}
	return out
}

// warn tells of the fields of a file that have no effect.
func (c *Config) warn() {
	if !c.file {
		return
	}
	for _, name := range ineffective(&c.Settings) {
		slog.Default().Warn("field of the configuration file has no effect", "component", "kubelet", "field", name)
	}
}
