package cri

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	rt "k8s.io/cri-api/pkg/apis/runtime/v1"
	kubetypes "k8s.io/kubelet/pkg/types"
)

// Annotations of containers, by which a kubelet that starts anew knows what it needs of containers that it did not start.
// Names as upstream's, so that a node can move from one kubelet to the other.
const (
	annotationHash              = "io.kubernetes.container.hash"
	annotationRestartCount      = "io.kubernetes.container.restartCount"
	annotationMessagePath       = "io.kubernetes.container.terminationMessagePath"
	annotationMessagePolicy     = "io.kubernetes.container.terminationMessagePolicy"
	annotationPreStop           = "io.kubernetes.container.preStopHandler"
	annotationPorts             = "io.kubernetes.container.ports"
	annotationPodDeletionGrace  = "io.kubernetes.pod.deletionGracePeriod"
	annotationPodTerminateGrace = "io.kubernetes.pod.terminationGracePeriod"
)

// SandboxLabels are the pod's labels and those that identify it.
func SandboxLabels(pod *corev1.Pod) map[string]string {
	l := make(map[string]string, len(pod.Labels)+3)
	for k, v := range pod.Labels {
		l[k] = v
	}
	l[kubetypes.KubernetesPodNameLabel] = pod.Name
	l[kubetypes.KubernetesPodNamespaceLabel] = pod.Namespace
	l[kubetypes.KubernetesPodUIDLabel] = string(pod.UID)
	return l
}

// ContainerLabels identify a container.
func ContainerLabels(pod *corev1.Pod, container string) map[string]string {
	return map[string]string{
		kubetypes.KubernetesPodNameLabel:       pod.Name,
		kubetypes.KubernetesPodNamespaceLabel:  pod.Namespace,
		kubetypes.KubernetesPodUIDLabel:        string(pod.UID),
		kubetypes.KubernetesContainerNameLabel: container,
	}
}

// ContainerAnnotations carry what must outlive the kubelet's process.
func ContainerAnnotations(pod *corev1.Pod, c *corev1.Container, restarts int) map[string]string {
	a := map[string]string{
		annotationHash:          Hash(c),
		annotationRestartCount:  strconv.Itoa(restarts),
		annotationMessagePath:   c.TerminationMessagePath,
		annotationMessagePolicy: string(c.TerminationMessagePolicy),
	}
	if pod.DeletionGracePeriodSeconds != nil {
		a[annotationPodDeletionGrace] = strconv.FormatInt(*pod.DeletionGracePeriodSeconds, 10)
	}
	if pod.Spec.TerminationGracePeriodSeconds != nil {
		a[annotationPodTerminateGrace] = strconv.FormatInt(*pod.Spec.TerminationGracePeriodSeconds, 10)
	}
	putJSON(a, annotationPorts, c.Ports, len(c.Ports) > 0)
	if c.Lifecycle != nil {
		putJSON(a, annotationPreStop, c.Lifecycle.PreStop, c.Lifecycle.PreStop != nil)
	}
	return a
}

func putJSON(a map[string]string, key string, v any, there bool) {
	if !there {
		return
	}
	if b, err := json.Marshal(v); err == nil {
		a[key] = string(b)
	}
}

// Hash covers the parts of a container whose change makes a running one start anew: its name and image.
func Hash(c *corev1.Container) string {
	sum := sha256.Sum256([]byte(c.Name + "\x00" + c.Image))
	return hex.EncodeToString(sum[:4])
}

// Container is one container as the runtime knows it.
type Container struct {
	*rt.ContainerStatus
	Name      string
	SandboxID string
}

// RestartCount is how often containers of this name were started before this one.
func (c *Container) RestartCount() int {
	n, err := strconv.Atoi(c.Annotations[annotationRestartCount])
	if err != nil {
		return int(c.GetMetadata().GetAttempt())
	}
	return n
}

// SpecHash is the Hash that the container was made from.
func (c *Container) SpecHash() string { return c.Annotations[annotationHash] }

// MessagePath is the path of the termination message inside the container.
func (c *Container) MessagePath() string { return c.Annotations[annotationMessagePath] }

// MessagePolicy says where the termination message comes from.
func (c *Container) MessagePolicy() corev1.TerminationMessagePolicy {
	return corev1.TerminationMessagePolicy(c.Annotations[annotationMessagePolicy])
}

// PreStop is the hook that the container was made with, for pods whose spec is gone. nil when there is none.
func (c *Container) PreStop() *corev1.LifecycleHandler {
	var h corev1.LifecycleHandler
	if json.Unmarshal([]byte(c.Annotations[annotationPreStop]), &h) != nil {
		return nil
	}
	return &h
}

// Ports that the container was made with, for hooks of pods whose spec is gone.
func (c *Container) Ports() []corev1.ContainerPort {
	var p []corev1.ContainerPort
	if json.Unmarshal([]byte(c.Annotations[annotationPorts]), &p) != nil {
		return nil
	}
	return p
}

// TerminationGrace is the pod's grace period in seconds at the time the container was made; ok is false when unknown.
func (c *Container) TerminationGrace() (seconds int64, ok bool) {
	n, err := strconv.ParseInt(c.Annotations[annotationPodTerminateGrace], 10, 64)
	return n, err == nil
}

// Running says whether the process runs.
func (c *Container) Running() bool { return c.State == rt.ContainerState_CONTAINER_RUNNING }

// Exited says whether the process has ended.
func (c *Container) Exited() bool { return c.State == rt.ContainerState_CONTAINER_EXITED }

func podUID(labels map[string]string) types.UID {
	return types.UID(labels[kubetypes.KubernetesPodUIDLabel])
}
