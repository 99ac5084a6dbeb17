package node

import (
	"github.com/prometheus/client_golang/prometheus"
	rt "k8s.io/cri-api/pkg/apis/runtime/v1"
)

var containersByState = prometheus.NewDesc("kubelet_running_containers", "Number of containers currently running", []string{"container_state"}, nil)

// states counts the containers of the node by their state when it is asked.
type states struct{ k *Kubelet }

func (s states) Describe(ch chan<- *prometheus.Desc) { ch <- containersByState }

func (s states) Collect(ch chan<- prometheus.Metric) {
	names := map[rt.ContainerState]string{
		rt.ContainerState_CONTAINER_CREATED: "created", rt.ContainerState_CONTAINER_RUNNING: "running",
		rt.ContainerState_CONTAINER_EXITED: "exited", rt.ContainerState_CONTAINER_UNKNOWN: "unknown",
	}
	counts := map[string]int{}
	for _, p := range s.k.pods.Pods() {
		seen := s.k.pods.Seen(p.UID)
		if seen == nil {
			continue
		}
		for _, c := range seen.Containers {
			counts[names[c.State]]++
		}
	}
	for _, name := range names {
		ch <- prometheus.MustNewConstMetric(containersByState, prometheus.GaugeValue, float64(counts[name]), name)
	}
}
