package podspec

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

const notEphemeral = "cannot be set for an Ephemeral Container"

// validateEphemeralContainers judges containers added to a running pod: they have no ports, probes,
// hooks or resources.
func validateEphemeralContainers(spec *corev1.PodSpec, s *surroundings, names unique, at *field.Path) errs {
	var out errs
	targets := map[string]bool{}
	for i := range spec.Containers {
		targets[spec.Containers[i].Name] = true
	}
	for i := range spec.InitContainers {
		targets[spec.InitContainers[i].Name] = true
	}
	for i := range spec.EphemeralContainers {
		e, p := &spec.EphemeralContainers[i], at.Index(i)
		c := corev1.Container(e.EphemeralContainerCommon)
		out = append(out, validateContainer(&c, s, p)...)
		out = append(out, names.add(p.Child("name"), c.Name)...)
		if e.TargetContainerName != "" && !targets[e.TargetContainerName] {
			out = append(out, field.NotFound(p.Child("targetContainerName"), e.TargetContainerName))
		}
		for _, f := range []struct {
			name string
			set  bool
		}{
			{"ports", len(c.Ports) > 0},
			{"resources", len(c.Resources.Limits)+len(c.Resources.Requests)+len(c.Resources.Claims) > 0},
			{"resizePolicy", len(c.ResizePolicy) > 0}, {"restartPolicy", c.RestartPolicy != nil}, {"restartPolicyRules", len(c.RestartPolicyRules) > 0},
			{"livenessProbe", c.LivenessProbe != nil}, {"readinessProbe", c.ReadinessProbe != nil},
			{"startupProbe", c.StartupProbe != nil}, {"lifecycle", c.Lifecycle != nil},
		} {
			if f.set {
				out = append(out, field.Forbidden(p.Child(f.name), notEphemeral))
			}
		}
		for j, m := range c.VolumeMounts {
			if m.SubPath != "" || m.SubPathExpr != "" {
				out = append(out, field.Forbidden(p.Child("volumeMounts").Index(j).Child("subPath"), notEphemeral))
			}
		}
	}
	return out
}
