package podspec

import (
	"strings"

	"github.com/distribution/reference"
	corev1 "k8s.io/api/core/v1"
	helpers "k8s.io/component-helpers/resource"
	"k8s.io/utils/ptr"
)

// Default fills in what a pod leaves out.
func Default(spec *corev1.PodSpec) {
	DefaultTemplate(spec)
	setDefaultPtr(&spec.EnableServiceLinks, corev1.DefaultEnableServiceLinks)
	for _, l := range [][]corev1.Container{spec.InitContainers, spec.Containers} {
		for i := range l {
			requestsFromLimits(&l[i].Resources)
			if spec.HostNetwork {
				hostPorts(l[i].Ports)
			}
		}
	}
	podRequests(spec)
}

// DefaultTemplate fills in what the pod template of a workload leaves out: all defaults but
// those that only a pod itself gets (service links, requests from limits, host ports).
func DefaultTemplate(spec *corev1.PodSpec) {
	dropAlpha(spec)
	setDefault(&spec.RestartPolicy, corev1.RestartPolicyAlways)
	setDefault(&spec.DNSPolicy, corev1.DNSClusterFirst)
	setDefault(&spec.SchedulerName, corev1.DefaultSchedulerName)
	setDefaultPtr(&spec.TerminationGracePeriodSeconds, corev1.DefaultTerminationGracePeriodSeconds)
	if spec.SecurityContext == nil {
		spec.SecurityContext = &corev1.PodSecurityContext{}
	}
	// serviceAccount is the deprecated name of serviceAccountName; the two are always equal.
	setDefault(&spec.ServiceAccountName, spec.DeprecatedServiceAccount)
	spec.DeprecatedServiceAccount = spec.ServiceAccountName
	RoundUp(spec.Overhead)
	if r := spec.Resources; r != nil {
		RoundUp(r.Limits)
		RoundUp(r.Requests)
	}
	for i := range spec.InitContainers {
		defaultContainer(&spec.InitContainers[i])
	}
	for i := range spec.Containers {
		defaultContainer(&spec.Containers[i])
	}
	for i := range spec.EphemeralContainers {
		c := corev1.Container(spec.EphemeralContainers[i].EphemeralContainerCommon)
		defaultContainer(&c)
		spec.EphemeralContainers[i].EphemeralContainerCommon = corev1.EphemeralContainerCommon(c)
	}
	for i := range spec.Volumes {
		defaultVolume(&spec.Volumes[i].VolumeSource)
	}
}

func defaultContainer(c *corev1.Container) {
	setDefault(&c.TerminationMessagePath, corev1.TerminationMessagePathDefault)
	setDefault(&c.TerminationMessagePolicy, corev1.TerminationMessageReadFile)
	setDefault(&c.ImagePullPolicy, PullPolicy(c.Image))
	for i := range c.Ports {
		setDefault(&c.Ports[i].Protocol, corev1.ProtocolTCP)
	}
	for i := range c.Env {
		defaultEnv(c.Env[i].ValueFrom)
	}
	for _, p := range []*corev1.Probe{c.LivenessProbe, c.ReadinessProbe, c.StartupProbe} {
		defaultProbe(p)
	}
	if l := c.Lifecycle; l != nil {
		for _, h := range []*corev1.LifecycleHandler{l.PostStart, l.PreStop} {
			if h != nil {
				defaultHTTPGet(h.HTTPGet)
			}
		}
	}
	RoundUp(c.Resources.Limits)
	RoundUp(c.Resources.Requests)
}

func defaultEnv(from *corev1.EnvVarSource) {
	if from == nil {
		return
	}
	if from.FieldRef != nil {
		setDefault(&from.FieldRef.APIVersion, "v1")
	}
	if from.FileKeyRef != nil {
		setDefaultPtr(&from.FileKeyRef.Optional, false)
	}
}

func defaultProbe(p *corev1.Probe) {
	if p == nil {
		return
	}
	setDefault(&p.TimeoutSeconds, 1)
	setDefault(&p.PeriodSeconds, 10)
	setDefault(&p.SuccessThreshold, 1)
	setDefault(&p.FailureThreshold, 3)
	defaultHTTPGet(p.HTTPGet)
	if p.GRPC != nil {
		setDefaultPtr(&p.GRPC.Service, "")
	}
}

func defaultHTTPGet(a *corev1.HTTPGetAction) {
	if a == nil {
		return
	}
	setDefault(&a.Path, "/")
	setDefault(&a.Scheme, corev1.URISchemeHTTP)
}

// PullPolicy is the policy of a container that names none: images that may change under their name are
// always pulled.
func PullPolicy(image string) corev1.PullPolicy {
	if image == "" || strings.Contains(image, "@") {
		return corev1.PullIfNotPresent
	}
	name := image[strings.LastIndex(image, "/")+1:]
	_, tag, tagged := strings.Cut(name, ":")
	if tagged && tag != "latest" {
		return corev1.PullIfNotPresent
	}
	if _, err := reference.ParseNormalizedNamed(image); err != nil {
		return corev1.PullIfNotPresent // what names no image has no tag either
	}
	return corev1.PullAlways
}

// requestsFromLimits sets the request of every resource that has only a limit.
func requestsFromLimits(r *corev1.ResourceRequirements) {
	for name, limit := range r.Limits {
		if r.Requests == nil {
			r.Requests = corev1.ResourceList{}
		}
		if _, set := r.Requests[name]; !set {
			r.Requests[name] = limit.DeepCopy()
		}
	}
}

func hostPorts(ports []corev1.ContainerPort) {
	for i := range ports {
		setDefault(&ports[i].HostPort, ports[i].ContainerPort)
	}
}

// podRequests sets the pod-level request of each resource with a pod-level limit: what the
// containers request together, and the limit where they request nothing (KEP-2837). Where only
// requests are given, huge pages get their limit from the request, as they cannot be overcommitted.
func podRequests(spec *corev1.PodSpec) {
	r := spec.Resources
	if r == nil || len(r.Limits)+len(r.Requests) == 0 {
		return
	}
	sums := helpers.AggregateContainerRequests(&corev1.Pod{Spec: *spec}, helpers.PodResourcesOptions{})
	for name, limit := range r.Limits {
		if _, set := r.Requests[name]; set || !helpers.IsSupportedPodLevelResource(name) {
			continue
		}
		if r.Requests == nil {
			r.Requests = corev1.ResourceList{}
		}
		if sum, ok := sums[name]; ok && !strings.HasPrefix(string(name), corev1.ResourceHugePagesPrefix) {
			r.Requests[name] = sum
		} else {
			r.Requests[name] = limit.DeepCopy()
		}
	}
	for name, sum := range sums {
		if _, set := r.Requests[name]; !set && helpers.IsSupportedPodLevelResource(name) {
			if r.Requests == nil {
				r.Requests = corev1.ResourceList{}
			}
			r.Requests[name] = sum
		}
	}
	for name, request := range r.Requests {
		if _, set := r.Limits[name]; set || !strings.HasPrefix(string(name), corev1.ResourceHugePagesPrefix) {
			continue
		}
		if r.Limits == nil {
			r.Limits = corev1.ResourceList{}
		}
		r.Limits[name] = request.DeepCopy()
	}
}

// RoundUp rounds the quantities up to a thousandth, the finest that the API keeps.
func RoundUp(l corev1.ResourceList) {
	for name, q := range l {
		if q.RoundUp(-3) {
			// Nothing was lost: the value needs no writing back.
			continue
		}
		l[name] = q
	}
}

func setDefault[T comparable](p *T, value T) {
	var zero T
	if *p == zero {
		*p = value
	}
}

func setDefaultPtr[T any](p **T, value T) {
	if *p == nil {
		*p = ptr.To(value)
	}
}
