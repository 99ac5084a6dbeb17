package pods

import (
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"

	"hyperkube/internal/node/probe"
)

// measures of a manager, under upstream's names.
type measures struct {
	probes   *prometheus.CounterVec
	firstRun prometheus.Histogram
	started  *prometheus.CounterVec
	failed   *prometheus.CounterVec
}

func newMeasures() measures {
	return measures{
		probes: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "prober_probe_total", Help: "Cumulative number of a liveness, readiness or startup probe for a container by result."},
			[]string{"probe_type", "result", "container", "pod", "namespace", "pod_uid"}),
		firstRun: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "kubelet_pod_start_duration_seconds",
			Help:    "Duration in seconds from kubelet seeing a pod for the first time to the pod starting to run",
			Buckets: []float64{0.05, 0.1, 0.2, 0.5, 1, 2, 3, 4, 5, 6, 8, 10, 20, 30, 45, 60, 120, 180, 240, 300, 360, 480, 600, 900, 1200, 1800, 2700, 3600}}),
		started: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "kubelet_started_containers_total", Help: "Cumulative number of containers started"}, []string{"container_type"}),
		failed:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "kubelet_started_containers_errors_total", Help: "Cumulative number of errors when starting containers"}, []string{"container_type", "code"}),
	}
}

func (m measures) probed(p *corev1.Pod, container string, k probe.Kind, result string) {
	m.probes.WithLabelValues(string(k), result, container, p.Name, p.Namespace, string(p.UID)).Inc()
}

// ProbeMetrics are those of /metrics/probes.
func (m *Manager) ProbeMetrics() prometheus.Gatherer {
	r := prometheus.NewRegistry()
	r.MustRegister(m.measures.probes)
	return r
}

// Metrics of the manager for the kubelet's own.
func (m *Manager) Metrics() []prometheus.Collector {
	return []prometheus.Collector{m.measures.firstRun, m.measures.started, m.measures.failed}
}

// containerType is what upstream calls the list of the spec that a container is in.
func containerType(s *corev1.PodSpec, name string) string {
	for i := range s.InitContainers {
		if s.InitContainers[i].Name == name {
			return "init_container"
		}
	}
	for i := range s.EphemeralContainers {
		if s.EphemeralContainers[i].Name == name {
			return "ephemeral_container"
		}
	}
	return "container"
}
