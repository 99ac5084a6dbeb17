// Package spec turns a pod's spec into what the container runtime is asked for: the configuration of a sandbox and of a
// container, host names, resolv.conf, /etc/hosts, security settings and resources.
// It is pure: files, addresses and identifiers are given to it.
package spec

import (
	"fmt"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	rt "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/kubectl/pkg/util/qos"
)

// Node is what the configurations need of the node.
type Node struct {
	Name           string
	ClusterDomain  string
	ClusterDNS     []string
	Resolv         Resolv // the node's own resolv.conf
	MemoryCapacity int64  // bytes
	Allocatable    corev1.ResourceList
	HugepageSizes  []string // as in /sys/kernel/mm/hugepages: "2MB", "1GB"
	CPUQuota       bool     // enforce CPU limits by CFS quota
	CPUPeriod      int64    // µs; 0 is 100 ms
	SeccompDefault bool
	SeccompDir     string   // below it are the profiles of type Localhost
	SafeSysctls    []string // unsafe ones allowed besides the safe ones; a trailing * matches a prefix
}

// QOS of a pod: what its status says, or what its resources make it.
func QOS(pod *corev1.Pod) corev1.PodQOSClass {
	if pod.Status.QOSClass != "" {
		return pod.Status.QOSClass
	}
	return qos.GetPodQOS(pod)
}

// LogDir is the directory of a pod's logs below the log root: namespace_name_uid.
func LogDir(root string, pod *corev1.Pod) string {
	return filepath.Join(root, pod.Namespace+"_"+pod.Name+"_"+string(pod.UID))
}

// LogPath is a container's log file below its pod's directory.
func LogPath(container string, restarts int) string {
	return filepath.Join(container, fmt.Sprintf("%d.log", restarts))
}

// AllContainers calls f for every container of the pod: init containers, containers, ephemeral containers.
func AllContainers(s *corev1.PodSpec, f func(c *corev1.Container)) {
	for i := range s.InitContainers {
		f(&s.InitContainers[i])
	}
	for i := range s.Containers {
		f(&s.Containers[i])
	}
	for i := range s.EphemeralContainers {
		f(Ephemeral(&s.EphemeralContainers[i]))
	}
}

// Ephemeral is an ephemeral container as a Container.
func Ephemeral(e *corev1.EphemeralContainer) *corev1.Container {
	c := corev1.Container(e.EphemeralContainerCommon)
	return &c
}

// Find a container of any type by name; nil when there is none.
func Find(s *corev1.PodSpec, name string) *corev1.Container {
	var found *corev1.Container
	AllContainers(s, func(c *corev1.Container) {
		if c.Name == name {
			found = c
		}
	})
	return found
}

// Restartable says whether an init container is a sidecar.
func Restartable(c *corev1.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

// HasPort finds a container's port by name.
func HasPort(ports []corev1.ContainerPort, name string) (int32, bool) {
	for _, p := range ports {
		if p.Name == name {
			return p.ContainerPort, true
		}
	}
	return 0, false
}

func int64Value(v *int64) *rt.Int64Value {
	if v == nil {
		return nil
	}
	return &rt.Int64Value{Value: *v}
}

func quantity(l corev1.ResourceList, n corev1.ResourceName) (resource.Quantity, bool) {
	q, ok := l[n]
	return q, ok && !q.IsZero()
}
