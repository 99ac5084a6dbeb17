package podspec

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// portAt is a port of a container and the path to it.
type portAt struct {
	port corev1.ContainerPort
	at   *field.Path
}

func containersWarnings(spec *corev1.PodSpec, at *field.Path) []string {
	var out []string
	for i := range spec.InitContainers {
		out = append(out, containerWarnings(&spec.InitContainers[i], nil, at.Child("initContainers").Index(i))...)
	}
	var ports []portAt // which containers have at the same time
	for i := range spec.Containers {
		c, p := &spec.Containers[i], at.Child("containers").Index(i)
		out = append(out, containerWarnings(c, ports, p)...)
		for k := range c.Ports {
			ports = append(ports, portAt{c.Ports[k], p.Child("ports").Index(k)})
		}
	}
	return out
}

// containerWarnings tells of a container; others are ports of those before it.
func containerWarnings(c *corev1.Container, others []portAt, at *field.Path) []string {
	out := fractionWarnings(&c.Resources, at.Child("resources"), corev1.ResourceMemory, corev1.ResourceEphemeralStorage)
	seen := map[string]bool{}
	for i, e := range c.Env {
		if seen[e.Name] && !strings.Contains(e.Value, "$("+e.Name+")") {
			out = append(out, fmt.Sprintf("%s: hides previous definition of %q, which may be dropped when using apply", at.Child("env").Index(i), e.Name))
		}
		seen[e.Name] = true
	}
	for i, p := range c.Ports {
		q := at.Child("ports").Index(i)
		if p.HostIP != "" && p.HostPort == 0 {
			out = append(out, fmt.Sprintf("%s: hostIP set without hostPort: %+v", q, p))
		}
		for _, o := range others {
			switch {
			case samePort(p, o.port):
				out = append(out, fmt.Sprintf("%s: duplicate port definition with %s", q, o.at))
			case overlap(p, o.port):
				out = append(out, fmt.Sprintf("%s: overlapping port definition with %s", q, o.at))
			}
		}
		others = append(others[:len(others):len(others)], portAt{p, q})
	}
	return out
}

// samePort overlooks names.
func samePort(a, b corev1.ContainerPort) bool {
	a.Name, b.Name = "", ""
	return a == b
}

// overlap says whether one of two ports says of the same port of the container what the other leaves open.
func overlap(a, b corev1.ContainerPort) bool {
	if a.ContainerPort != b.ContainerPort || a.Protocol != b.Protocol {
		return false
	}
	if a.HostPort != b.HostPort {
		return a.HostPort == 0 || b.HostPort == 0
	}
	return a.HostIP == "" || b.HostIP == ""
}

// fractionWarnings tells of sizes that are no whole number of bytes.
func fractionWarnings(r *corev1.ResourceRequirements, at *field.Path, names ...corev1.ResourceName) []string {
	var out []string
	for _, name := range names {
		for _, l := range []struct {
			name string
			list corev1.ResourceList
		}{{"limits", r.Limits}, {"requests", r.Requests}} {
			if q, there := l.list[name]; there && q.MilliValue()%1000 != 0 {
				out = append(out, fmt.Sprintf("%s: fractional byte value %q is invalid, must be an integer", at.Child(l.name).Key(string(name)), q.String()))
			}
		}
	}
	return out
}

// ClaimWarnings tells of the specification of a persistent volume claim. at is the path of the specification.
func ClaimWarnings(s *corev1.PersistentVolumeClaimSpec, at *field.Path) []string {
	r := corev1.ResourceRequirements{Limits: s.Resources.Limits, Requests: s.Resources.Requests}
	return fractionWarnings(&r, at.Child("resources"), corev1.ResourceStorage)
}
