package podspec

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Warnings tells of fields that are deprecated or that do not do what one might think.
func Warnings(spec *corev1.PodSpec, at *field.Path) []string {
	var out []string
	for i := range spec.Volumes {
		v, p := &spec.Volumes[i], at.Child("volumes").Index(i)
		if v.GitRepo != nil {
			out = append(out, p.Child("gitRepo").String()+": deprecated in v1.11, and disabled by default in v1.33+")
		}
		if v.Projected != nil {
			for _, s := range v.Projected.Sources {
				if s == (corev1.VolumeProjection{}) {
					out = append(out, fmt.Sprintf("volume %q (Projected) has no sources provided", v.Name))
				}
			}
		}
		if v.ScaleIO != nil {
			out = append(out, p.Child("scaleIO").String()+": deprecated in v1.16, non-functional in v1.22+")
		}
		if v.StorageOS != nil {
			out = append(out, p.Child("storageOS").String()+": deprecated in v1.22, non-functional in v1.25+")
		}
		if v.PhotonPersistentDisk != nil {
			out = append(out, p.Child("photonPersistentDisk").String()+": deprecated in v1.11, non-functional in v1.16+")
		}
		if v.Flocker != nil {
			out = append(out, p.Child("flocker").String()+": deprecated in v1.22, non-functional in v1.25+")
		}
		if v.Quobyte != nil {
			out = append(out, p.Child("quobyte").String()+": deprecated in v1.22, non-functional in v1.25+")
		}
		if v.Glusterfs != nil {
			out = append(out, p.Child("glusterfs").String()+": deprecated in v1.25, non-functional in v1.26+")
		}
		if v.RBD != nil {
			out = append(out, p.Child("rbd").String()+": deprecated in v1.28, non-functional in v1.31+")
		}
		if v.CephFS != nil {
			out = append(out, p.Child("cephfs").String()+": deprecated in v1.28, non-functional in v1.31+")
		}
	}
	for _, l := range []struct {
		name string
		list []corev1.Container
	}{{"initContainers", spec.InitContainers}, {"containers", spec.Containers}} {
		for i := range l.list {
			out = append(out, containerWarnings(&l.list[i], at.Child(l.name).Index(i))...)
		}
	}
	for i, r := range spec.ImagePullSecrets {
		if r.Name == "" {
			out = append(out, at.Child("imagePullSecrets").Index(i).Child("name").String()+`: invalid empty name ""`)
		}
	}
	if g := spec.TerminationGracePeriodSeconds; g != nil && *g < 0 {
		out = append(out, at.Child("terminationGracePeriodSeconds").String()+": must be >= 0; negative values are invalid and will be treated as 1")
	}
	return out
}

func containerWarnings(c *corev1.Container, at *field.Path) []string {
	var out []string
	seen := map[string]bool{}
	for i, e := range c.Env {
		if seen[e.Name] && !strings.Contains(e.Value, "$("+e.Name+")") {
			out = append(out, fmt.Sprintf("%s: hides previous definition of %q, which may be dropped when using apply", at.Child("env").Index(i), e.Name))
		}
		seen[e.Name] = true
	}
	ports := map[string]int{}
	for i, p := range c.Ports {
		key := fmt.Sprintf("%d/%s/%d/%s", p.ContainerPort, p.Protocol, p.HostPort, p.HostIP)
		if first, twice := ports[key]; twice {
			out = append(out, fmt.Sprintf("%s: duplicate port definition with %s", at.Child("ports").Index(i), at.Child("ports").Index(first)))
			continue
		}
		ports[key] = i
	}
	return out
}
